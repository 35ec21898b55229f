/* agent.h - the agent: its data folder, its topics, one thread per shard.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include <signal.h>

#include "agent/config/config.h"

struct agent;

/* Opens the data folder, checks the topics (waits for the brokers; says so) and starts
 * the shards. *stop (may be NULL) ends the waiting with ERROR_STOPPED. ERROR_CONFIG: the
 * topics would lose the log. */
int agent_start(const struct config *config, const volatile sig_atomic_t *stop,
                struct agent **ret_agent, struct error *err);
/* Is every shard settled: owner, follower, or stopped with a reason? */
bool agent_ready(const struct agent *agent);
unsigned agent_owned(const struct agent *agent); /* how many shards it owns */
unsigned agent_shards(const struct agent *agent);
/* SIGHUP: new Kafka handles (certificates, passwords from files), stopped shards try
 * again. */
void agent_reopen(struct agent *agent);
/* Looks after the shards; to be called several times a second. Ends the process, with
 * EXIT_FAILURE, if one of them is stuck: a supervisor starts it again, which is as safe
 * as any kill. */
void agent_watch(const struct agent *agent);
/* Drains all shards, within 10 s, and frees the agent. */
void agent_stop(struct agent *agent);

/* sd_notify's datagram to $NOTIFY_SOCKET; no effect without one. */
void notify_service(const char *state);

#endif
