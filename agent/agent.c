/* agent.c - see agent.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "agent/agent.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/kafka/kafka.h"
#include "agent/log.h"
#include "agent/shard/shard.h"
#include "events/base/user_name.h"

#define WAITING "waiting for the brokers: "
#define JOIN_MS 10
#define CHECK_TIMEOUT_MS 3000 /* SIGTERM is seen between two tries */

struct agent {
    const struct config *config;
    struct store_folder *folder;
    struct topics_report topics;
    char name[128];
    struct shard **shards;
    unsigned shard_count;
};

static int log_findings(const struct topics_report *report, struct error *err)
{
    const char *first = NULL;

    for (size_t i = 0; i < report->finding_count; i++) {
        const struct topic_finding *finding = &report->findings[i];
        if (finding->level == TOPIC_OK)
            continue;
        log_write(finding->level == TOPIC_REFUSED ? 3 : 4, "topics", "%s", finding->text);
        if (finding->level == TOPIC_REFUSED && first == NULL)
            first = finding->text;
    }
    if (!report->refused)
        return 0;
    return error_set(err, ERROR_CONFIG, "the topics would lose the log: %s",
                     first != NULL ? first : "see above");
}

/* `status` shows it, too: what a killed agent left there is no longer so. */
static void note_waiting(const struct store_folder *folder, uint32_t shard,
                         const char *why)
{
    struct shard_status status;
    struct kv_batch *batch = NULL;
    struct kv *kv = NULL;

    int code = store_open_shard(folder, shard, KV_READ_WRITE, &kv, NULL);
    if (code == 0)
        code = shard_status_load(kv, &status, NULL);
    if (code == 0)
        batch = kv_batch_new(kv);
    if (batch != NULL) {
        status.role = SHARD_CLAIMING;
        snprintf(status.reason, sizeof status.reason, WAITING "%.400s", why);
        if (shard_status_store(batch, &status, NULL) == 0)
            (void)kv_batch_commit(batch, /* sync= */ false, NULL);
    }
    /* what is wrong with a store is said when its shard opens it */
    kv_batch_free(batch);
    kv_close(kv);
}

static void say_waiting(const struct store_folder *folder, const char *why, bool first)
{
    log_paced(4, "agent", WAITING "%s", why);
    for (uint32_t shard = 0; first && shard < folder->identity.shards; shard++)
        note_waiting(folder, shard, why);
}

/* Asks until the brokers answer. */
static int check_topics(struct agent *agent, const volatile sig_atomic_t *stop,
                        struct error *err)
{
    struct topic_names names = config_topics(agent->config);
    bool said = false;

    for (;;) {
        struct error why = {0};
        int code = topics_check(&agent->config->kafka, &names,
                                (int32_t)agent->folder->identity.shards, CHECK_TIMEOUT_MS,
                                &agent->topics, &why);
        if (code == 0)
            return log_findings(&agent->topics, err);
        if (code != ERROR_TIMEOUT && !why.retriable)
            return error_set(err, code, "%s", why.text);
        say_waiting(agent->folder, why.text, !said);
        said = true;
        if (stop != NULL && *stop)
            return error_set(err, ERROR_STOPPED, "stopped while waiting for the brokers");
    }
}

static size_t largest(const size_t *sizes, size_t count)
{
    size_t result = 0;

    for (size_t i = 0; i < count; i++)
        result = sizes[i] > result ? sizes[i] : result;
    return result;
}

static int start_shards(struct agent *agent, struct error *err)
{
    const size_t *bytes = agent->topics.max_message_bytes;
    struct shard_settings settings = {
        .config = agent->config,
        .folder = agent->folder,
        .agent_name = agent->name,
        .cluster_id = agent->config->embedded ? "" : agent->topics.cluster_id,
        .events_message_bytes = bytes[1],
        .outbox_message_bytes = largest(bytes, 4),
        .dead_letter_bytes = bytes[3],
    };
    int code = 0;

    agent->shards = calloc(agent->folder->identity.shards, sizeof(struct shard *));
    if (agent->shards == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory while starting the shards");
    for (uint32_t i = 0; code == 0 && i < agent->folder->identity.shards; i++) {
        settings.number = i;
        code = shard_start(&settings, &agent->shards[i], err);
        agent->shard_count += code == 0;
    }
    return code;
}

static int check_rules(struct error *err)
{
    if (user_name_library_fits())
        return 0;
    return error_set(
        err, ERROR_VERSION,
        "the installed libutf8proc does not have the Unicode version that rules 1 pin "
        "(15.0): "
        "decisions would differ from those of other agents. Install libutf8proc 2.8");
}

int agent_start(const struct config *config, const volatile sig_atomic_t *stop,
                struct agent **ret_agent, struct error *err)
{
    struct agent *agent = calloc(1, sizeof *agent);
    char host[64] = "";

    if (agent == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory while starting");
    agent->config = config;
    gethostname(host, sizeof host - 1);
    snprintf(agent->name, sizeof agent->name, "%s, process %ld", host, (long)getpid());
    int code = check_rules(err);
    if (code == 0)
        code =
            store_folder_open(config->data_dir, /* writing= */ true, &agent->folder, err);
    if (code == 0 && strcmp(agent->folder->identity.site, config->site) != 0)
        code = error_set(err, ERROR_CONFIG,
                         "[agent] site is %s, but the data folder %s is of site %s",
                         config->site, config->data_dir, agent->folder->identity.site);
    if (code == 0)
        code = check_topics(agent, stop, err);
    if (code == 0)
        code = start_shards(agent, err);
    if (code != 0) {
        agent_stop(agent);
        return code;
    }
    *ret_agent = agent;
    return 0;
}

bool agent_ready(const struct agent *agent)
{
    for (unsigned i = 0; i < agent->shard_count; i++) {
        if (shard_present_role(agent->shards[i]) == SHARD_CLAIMING)
            return false;
    }
    return true;
}

unsigned agent_owned(const struct agent *agent)
{
    unsigned owned = 0;

    for (unsigned i = 0; i < agent->shard_count; i++)
        owned += shard_present_role(agent->shards[i]) == SHARD_OWNER;
    return owned;
}

unsigned agent_shards(const struct agent *agent)
{
    return agent->shard_count;
}

void agent_reopen(struct agent *agent)
{
    for (unsigned i = 0; i < agent->shard_count; i++)
        shard_reopen(agent->shards[i]);
}

void agent_watch(const struct agent *agent)
{
    for (unsigned i = 0; i < agent->shard_count; i++) {
        if (!shard_is_stuck(agent->shards[i]))
            continue;
        log_write(2, "agent",
                  "RocksDB does not come back from closing the store of shard %u: the "
                  "agent ends, and is to be started again",
                  i);
        _exit(EXIT_FAILURE);
    }
}

void agent_stop(struct agent *agent)
{
    if (agent == NULL)
        return;
    for (unsigned i = 0; i < agent->shard_count; i++)
        shard_stop(agent->shards[i]);
    while (agent->shard_count > 0) {
        if (shard_try_join(agent->shards[agent->shard_count - 1])) {
            agent->shard_count--;
            continue;
        }
        agent_watch(agent);
        poll(NULL, 0, JOIN_MS);
    }
    free(agent->shards);
    topics_report_release(&agent->topics);
    store_folder_close(agent->folder);
    free(agent);
}

void notify_service(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (path == NULL || (path[0] != '/' && path[0] != '@') ||
        strlen(path) >= sizeof address.sun_path)
        return;
    memcpy(address.sun_path, path, strlen(path));
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL,
                 (const struct sockaddr *)&address, size);
    close(fd);
}
