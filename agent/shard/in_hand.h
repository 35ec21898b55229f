/* in_hand.h - which commands a shard has in hand, noted so that the note outlives the
 * process: a command that kills the agent whenever it is handled is found and put aside,
 * instead of stopping its shard for ever.
 *
 * The note is in a small file beside the store, mapped into memory: it costs a few plain
 * stores per command and survives the death of the process by any signal. A power cut may
 * lose it, which costs more tries and nothing else.
 *
 *     in_hand_open        a note that was left behind: the process died with these in hand
 *     in_hand_batch_end   where the next batch has to end, so that suspects are handled alone
 *     in_hand_is_deadly   this one is not to be handled any more
 *     in_hand_take, in_hand_release      around whatever a record's content may crash:
 *                         deciding it, and committing its batch; not around waiting
 *     in_hand_committed   they did no harm: no suspicion is left
 *
 * Who is suspected: a death while one record is decided, or a batch of one is committed,
 * is charged to that record; it is handled in a batch of its own from then on, and after
 * IN_HAND_DEATHS_MAX deaths with it in hand not at all. A death in the commit of a batch
 * of many is charged to all of them; after the second one each is handled alone. Only
 * deaths in a row count. As long as any shard of the process has a suspect, the shards
 * take turns: one of them has something in hand, the others wait. So a death is charged to
 * the shard that caused it, and the counts of the others stand.
 *
 * All functions but in_hand_open take NULL: nothing is noted then.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SHARD_IN_HAND_H
#define AGENT_SHARD_IN_HAND_H

#include "agent/kafka/kafka.h"
#include "agent/shard/store.h"

#define IN_HAND_DEATHS_MAX 3

struct in_hand;
/* <folder>/shard-<n>.in-hand. One that is torn, of another version, or of another log's
 * shard is made anew. What was left behind is judged, and the count of deaths is durable
 * when this returns; records before next_offset are committed, and no suspects. */
int in_hand_open(const char *folder, const struct log_identity *identity,
                 int64_t next_offset, struct in_hand **ret_hand, struct error *err);
void in_hand_close(struct in_hand *hand);

/* The last offset that may be in one batch with the record at `offset`, which is its
 * first. */
int64_t in_hand_batch_end(const struct in_hand *hand, int64_t offset);
/* Did the process die with this very record in hand as often as it may? */
bool in_hand_is_deadly(const struct in_hand *hand, const struct record *record);
/* Was a note left behind when this was opened? Whom it charges (offsets), and with how
 * many deaths by now; for messages. */
bool in_hand_news(const struct in_hand *hand, int64_t *ret_first, int64_t *ret_last,
                  unsigned *ret_deaths);

/* From here on a death is charged to the records first..last. Waits for its turn while
 * there are suspects. */
void in_hand_take(struct in_hand *hand, const struct record *first,
                  const struct record *last);
/* Not any more. */
void in_hand_release(struct in_hand *hand);
/* As in_hand_release(); what was taken is committed, and not to be suspected. */
void in_hand_committed(struct in_hand *hand);

#endif
