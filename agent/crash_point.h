/* crash_point.h - named places at which a test build can be made to die or to stop, for
 * phases too short to be hit from outside. In every other build they are nothing.
 *
 * The names, in the order in which a command meets them (tests/torture counts by them):
 *
 *     batch.begin      records are consumed, nothing is decided
 *     batch.record     one more of them is decided, nothing is on disk
 *     batch.decided    all are, and the commit begins
 *     batch.committed  on disk, nothing handed over to the topic
 *     publish.half     an event handed over, not the batch's last
 *     publish.within   the same, and not its command's last
 *     publish.all      all of them
 *     publish.done     the topic has acknowledged more; the mark is not on disk
 *     mark.committed   the mark is; the answers that rest on it have not left
 *     answer.half      one answer of several has left
 *     answer.done      those that may leave have
 *     claim.sent, claim.read, claim.adopted, rest.half, answered.again
 *                      the way to ownership (agent/shard/takeover.c, shard.c)
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CRASH_POINT_H
#define AGENT_CRASH_POINT_H

#ifdef KINLOG_CRASH_POINTS
#include <stdbool.h>

/* Dies or stops here if it is told to: tests/torture/crash_point.c. */
void crash_point(const char *name);
/* Will the next pass of this point end the process, and is what was handed over to the
 * brokers to be acknowledged before? */
bool crash_point_settles(const char *name);
#define CRASH_POINT(name) crash_point(name)
#define CRASH_POINT_SETTLES(name) crash_point_settles(name)
#else
#define CRASH_POINT(name) ((void)0)
#define CRASH_POINT_SETTLES(name) false
#endif

#endif
