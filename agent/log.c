/* log.c - see log.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/clock.h"
#include "events/base/datetime.h"

#define LOG_FIELDS_MAX 16
#define PACE_MS 60000
#define CAUSES_MAX 512 /* more at a time: the latest are held back */

static struct {
    bool json;
    int level;
} settings = {false, LOG_LEVEL_INFO};

static const char *level_name(int level)
{
    if (level <= LOG_LEVEL_ERROR)
        return "error";
    if (level == LOG_LEVEL_WARNING)
        return "warning";
    return level <= LOG_LEVEL_INFO ? "info" : "debug";
}

void log_setup(const char *format, int level)
{
    settings.json = strcmp(format, "json") == 0;
    settings.level = level;
}

bool log_enabled(int level)
{
    return level <= settings.level;
}

/* ---- one line ---------------------------------------------------------------------- */

/* size never passes LOG_LINE_MAX - TAIL, so that quote, brace and newline always fit. */
#define TAIL 6

struct line {
    char *text;
    size_t size;
    bool full;
};

static void put(struct line *line, const char *text, size_t size)
{
    if (line->full || line->size + size > LOG_LINE_MAX - TAIL) {
        line->full = true;
        return;
    }
    memcpy(line->text + line->size, text, size);
    line->size += size;
}

static void put_str(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

/* For what closes: there is always room. */
static void put_end(struct line *line, const char *text)
{
    size_t size = strlen(text);

    memcpy(line->text + line->size, text, size);
    line->size += size;
}

/* The length of the UTF-8 sequence at text, 0 if there is none. */
static size_t utf8_length(const unsigned char *text)
{
    static const struct {
        unsigned char first, last, second_from, second_to;
        size_t length;
    } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
        {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (text[0] < forms[i].first || text[0] > forms[i].last)
            continue;
        if (text[1] < forms[i].second_from || text[1] > forms[i].second_to)
            return 0;
        for (size_t k = 2; k < forms[i].length; k++) {
            if (text[k] < 0x80 || text[k] > 0xbf)
                return 0;
        }
        return forms[i].length;
    }
    return 0;
}

/* C1 control characters are U+0080 to U+009F. */
static bool is_control(const unsigned char *text)
{
    return text[0] < 0x20 || text[0] == 0x7f || (text[0] == 0xc2 && text[1] < 0xa0);
}

static void put_escaped(struct line *line, const char *text, bool json)
{
    char escape[8];

    for (const unsigned char *at = (const unsigned char *)text;
         *at != 0 && !line->full;) {
        size_t length = *at < 0x80 ? 1 : utf8_length(at);

        if (*at == '"' || *at == '\\') {
            escape[0] = '\\';
            escape[1] = (char)*at;
            put(line, escape, 2);
        } else if (*at == '\n') {
            put(line, "\\n", 2);
        } else if (length == 0 || is_control(at)) {
            unsigned value = length == 2 ? at[1] : *at;
            (void)snprintf(escape, sizeof(escape), json ? "\\u%04x" : "\\x%02x",
                           json && length == 0 ? 0xfffdU : value);
            put_str(line, escape);
        } else {
            put(line, (const char *)at, length);
        }
        at += length == 0 ? 1 : length;
    }
}

/* Long values are quoted, for only what is quoted is cut instead of left out. */
static bool is_bare(const char *value)
{
    return strlen(value) <= 256 && *value != '\0' &&
           strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                         "0123456789._:/+-@") == strlen(value);
}

static void put_field(struct line *line, bool json, const char *key, const char *value)
{
    size_t before = line->size;

    if (line->full)
        return;
    if (json) {
        put_str(line, line->size == 1 ? "\"" : ",\"");
        put_str(line, key);
        put_str(line, "\":\"");
    } else {
        if (line->size > 0)
            put_str(line, " ");
        put_str(line, key);
        put_str(line, "=");
        if (is_bare(value)) {
            put_str(line, value);
            if (line->full)
                line->size = before;
            return;
        }
        put_str(line, "\"");
    }
    if (line->full) {
        line->size = before;
        return;
    }
    put_escaped(line, value, json);
    if (line->full)
        put_end(line, "...");
    put_end(line, "\"");
}

size_t log_render(char text[LOG_LINE_MAX + 1], bool json, int64_t time_ms, int level,
                  const char *component, const char *msg, const char *const *fields)
{
    struct line line = {text, 0, false};
    char time_text[RFC3339_SIZE];

    rfc3339_format(time_ms, time_text);
    if (json)
        put_str(&line, "{");
    put_field(&line, json, "ts", time_text);
    put_field(&line, json, "level", level_name(level));
    put_field(&line, json, "component", component);
    put_field(&line, json, "msg", msg);
    for (size_t i = 0; fields[i] != NULL; i += 2) {
        if (fields[i + 1] != NULL)
            put_field(&line, json, fields[i], fields[i + 1]);
    }
    put_end(&line, json ? "}\n" : "\n");
    text[line.size] = '\0';
    return line.size;
}

/* ---- writing ----------------------------------------------------------------------- */

/* $JOURNAL_STREAM names device and inode of the journal's socket; stderr may be something
 * else. */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat status;
    char expected[64];

    if (stream == NULL || fstat(STDERR_FILENO, &status) != 0)
        return false;
    (void)snprintf(expected, sizeof(expected), "%llu:%llu",
                   (unsigned long long)status.st_dev, (unsigned long long)status.st_ino);
    return strcmp(stream, expected) == 0;
}

static void write_line(int level, const char *component, const char *msg,
                       const char *const *fields)
{
    char text[4 + LOG_LINE_MAX];
    size_t start = 0;

    if (stderr_is_journal()) {
        if (level < 0 || level > 7)
            level = LOG_LEVEL_INFO;
        (void)snprintf(text, sizeof(text), "<%d>", level);
        start = 3;
    }
    size_t size = start + log_render(text + start, settings.json, clock_wall_ms(), level,
                                     component, msg, fields);
    /* A log that cannot be written has nowhere to say so. */
    while (write(STDERR_FILENO, text, size) < 0 && errno == EINTR) {
    }
}

void log_write(int level, const char *component, const char *format, ...)
{
    static const char *const no_fields[] = {NULL};
    char msg[LOG_LINE_MAX];
    va_list arguments;

    if (!log_enabled(level))
        return;
    va_start(arguments, format);
    (void)vsnprintf(msg, sizeof(msg), format, arguments);
    va_end(arguments);
    write_line(level, component, msg, no_fields);
}

/* ---- pace -------------------------------------------------------------------------- */

struct cause {
    uint64_t hash; /* of component and text */
    int64_t said_ms;
    unsigned held_back; /* since then */
};

static struct {
    pthread_mutex_t mutex;
    struct cause causes[CAUSES_MAX];
    size_t count;
} pace = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* Digits count for nothing, nor does how long the library tried and how often. */
static uint64_t hash_cause(const char *component, const char *text)
{
    const char *end = strstr(text, " (after ");
    size_t size = end != NULL ? (size_t)(end - text) : strlen(text);
    uint64_t hash = 14695981039346656037u; /* FNV-1a */

    for (; *component != '\0'; component++)
        hash = (hash ^ (unsigned char)*component) * 1099511628211u;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            hash = (hash ^ (unsigned char)text[i]) * 1099511628211u;
    }
    return hash;
}

/* The cause's place, or that of one which is over; NULL: all are fresh. The mutex is
 * held. */
static struct cause *find_cause(uint64_t hash, int64_t now_ms)
{
    struct cause *oldest = &pace.causes[0];

    for (size_t i = 0; i < pace.count; i++) {
        if (pace.causes[i].hash == hash)
            return &pace.causes[i];
        if (pace.causes[i].said_ms < oldest->said_ms)
            oldest = &pace.causes[i];
    }
    if (pace.count < CAUSES_MAX)
        oldest = &pace.causes[pace.count++];
    else if (now_ms - oldest->said_ms < PACE_MS)
        return NULL;
    *oldest = (struct cause){.hash = hash, .said_ms = now_ms - PACE_MS};
    return oldest;
}

/* Whether the line is due; *ret_held: how many like it were not since the last. */
static bool is_due(const char *component, const char *text, unsigned *ret_held)
{
    int64_t now_ms = clock_monotonic_ms();

    (void)pthread_mutex_lock(&pace.mutex);
    struct cause *cause = find_cause(hash_cause(component, text), now_ms);
    bool due = cause != NULL && now_ms - cause->said_ms >= PACE_MS;
    if (due) {
        *ret_held = cause->held_back;
        cause->held_back = 0;
        cause->said_ms = now_ms;
    } else if (cause != NULL) {
        cause->held_back++;
    }
    (void)pthread_mutex_unlock(&pace.mutex);
    return due;
}

static void write_paced(int level, const char *component, const char *msg,
                        const char *facility)
{
    char held_text[16];
    unsigned held = 0;

    if (!is_due(component, msg, &held))
        return;
    (void)snprintf(held_text, sizeof held_text, "%u", held);
    log_line(level, component, msg, "facility", facility, "held_back",
             held > 0 ? held_text : NULL, (const char *)NULL);
}

void log_paced(int level, const char *component, const char *format, ...)
{
    char msg[LOG_LINE_MAX];
    va_list arguments;

    if (!log_enabled(level))
        return;
    va_start(arguments, format);
    (void)vsnprintf(msg, sizeof(msg), format, arguments);
    va_end(arguments);
    write_paced(level, component, msg, /* facility= */ NULL);
}

void log_line(int level, const char *component, const char *msg, ...)
{
    const char *fields[2 * LOG_FIELDS_MAX + 1];
    size_t count = 0;
    va_list arguments;

    if (!log_enabled(level))
        return;
    va_start(arguments, msg);
    for (const char *key;
         count < LOG_FIELDS_MAX && (key = va_arg(arguments, const char *)) != NULL;
         count++) {
        fields[2 * count] = key;
        fields[2 * count + 1] = va_arg(arguments, const char *);
    }
    va_end(arguments);
    fields[2 * count] = NULL;
    write_line(level, component, msg, fields);
}

void log_kafka(int level, const char *facility, const char *text)
{
    if (log_enabled(level))
        write_paced(level, "kafka", text, facility);
}
