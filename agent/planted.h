/* planted.h - twelve bugs that can be built in, one at a time, to see that the tests find
 * them. In every build but those of `make PLANTED=NAME`, PLANTED(name) is a constant 0.
 *
 * Each stands where the right thing is done. Eight break a rule of "who may write"
 * (docs/architecture.md):
 *
 *     answer_before_fsync            an answer's events are on disk before it leaves
 *     answer_before_publication      ... and in the topic
 *     mark_written_late              ... and the mark that says so is on disk, too
 *     tail_adopted_without_reading   a new owner compares its own tail with the topic
 *     epoch_ignored                  an event counts under the last claim's epoch alone
 *     half_commands_kept             a command's events count together, at the last one
 *     maximum_instead_of_dense_prefix  only dense delivery reports say that one is alone
 *     dedup_forgotten_after_restart  a known id gets its first answer for ever
 *
 * and four one of conversations between shards (docs/conversations.md):
 *
 *     request_answered_too_early      a command that asks is answered with the outcome
 *     request_confirmed_too_late      a confirmation after the timeout adds nothing
 *     request_timeout_not_released    what timed out is released
 *     request_early_release_forgotten  a release that comes first is remembered
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_PLANTED_H
#define AGENT_PLANTED_H

enum planted {
    PLANTED_nothing,
    PLANTED_answer_before_fsync,
    PLANTED_answer_before_publication,
    PLANTED_mark_written_late,
    PLANTED_tail_adopted_without_reading,
    PLANTED_epoch_ignored,
    PLANTED_half_commands_kept,
    PLANTED_maximum_instead_of_dense_prefix,
    PLANTED_dedup_forgotten_after_restart,
    PLANTED_request_answered_too_early,
    PLANTED_request_confirmed_too_late,
    PLANTED_request_timeout_not_released,
    PLANTED_request_early_release_forgotten,
};

#ifndef KINLOG_PLANTED
#define KINLOG_PLANTED PLANTED_nothing
#endif

#define PLANTED(name) (KINLOG_PLANTED == PLANTED_##name)

#endif
