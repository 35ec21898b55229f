/* log.h - the agent's own log: one line per record on stderr, logfmt or JSON.
 *
 *     ts=2026-01-31T23:59:59.999Z level=info component=shard msg="shard 2: owner" epoch=17
 *
 * A line is at most LOG_LINE_MAX bytes and leaves in one write(), so lines of several
 * threads never mix. Control characters and bytes that are not UTF-8 are escaped. Where
 * stderr is the journal, the line starts with its priority (`<6>`). Any thread may log;
 * log_setup() comes before the others start.
 *
 * Never give it user names, values out of commands, or secrets.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_LOG_H
#define AGENT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_LINE_MAX 1024 /* with its newline */

enum log_level {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7
};

/* format: "logfmt" or "json". level: lines above it are dropped. Without a call: logfmt,
 * info. */
void log_setup(const char *format, int level);
bool log_enabled(int level);

/* level: syslog 0..7. */
void log_write(int level, const char *component, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As log_write, for what repeats as long as its cause lasts: a line that differs in digits
 * only from one that the component said within the last minute is held back, and counted
 * in the next. */
void log_paced(int level, const char *component, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The message, then pairs of key (lower-case letters and '_') and value, both strings, up
 * to NULL. A NULL value leaves its field out. */
void log_line(int level, const char *component, const char *msg, ...)
    __attribute__((sentinel));

/* As kafka_log_fn: the library's lines in the same form, at the pace of log_paced. */
void log_kafka(int level, const char *facility, const char *text);

/* Makes one line, newline included, NUL-terminated; returns its length. What log_line
 * does, without the writing; fields are key, value, ..., NULL. */
size_t log_render(char text[LOG_LINE_MAX + 1], bool json, int64_t time_ms, int level,
                  const char *component, const char *msg, const char *const *fields);

#endif
