/* client.c - see client.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/client.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* As in agent/kafka/settings.c. */
static const struct setting COMMON[] = {
    {"broker.address.family", "v4"},
    {"socket.nagle.disable", "true"},
    {"socket.keepalive.enable", "true"},
    {NULL, NULL},
};

void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    exit(1);
}

const char *text_argument(int argc, char **argv, const char *name, const char *fallback)
{
    for (int i = 1; i + 1 < argc; i += 2)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    if (fallback == NULL)
        die("%s is missing", name);
    return fallback;
}

int64_t number_argument(int argc, char **argv, const char *name, int64_t fallback)
{
    const char *text = text_argument(argc, argv, name, fallback < 0 ? NULL : "");
    char *end;
    long long number = strtoll(text, &end, 10);

    if (*text == '\0')
        return fallback;
    if (*end != '\0' || number < 0)
        die("%s: a number is wanted, not %s", name, text);
    return number;
}

void client_set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char text[256];

    if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) != RD_KAFKA_CONF_OK)
        die("%s = %s: %s", name, value, text);
}

rd_kafka_conf_t *client_conf(const char *brokers, const struct setting *settings)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    client_set(conf, "bootstrap.servers", brokers);
    for (const struct setting *setting = COMMON; setting->name; setting++)
        client_set(conf, setting->name, setting->value);
    for (; settings->name; settings++)
        client_set(conf, settings->name, settings->value);
    return conf;
}

rd_kafka_t *client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    char text[256];
    rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof(text));

    if (rk == NULL)
        die("no client: %s", text);
    return rk;
}

#define FIXED_FIELDS 5
#define HEADERS_MAX 8

static size_t fill_fields(rd_kafka_vu_t *fields, const struct outgoing *outgoing)
{
    size_t n = 0;

    fields[n].vtype = RD_KAFKA_VTYPE_RKT;
    fields[n++].u.rkt = outgoing->topic;
    fields[n].vtype = RD_KAFKA_VTYPE_PARTITION;
    fields[n++].u.i32 = outgoing->partition;
    fields[n].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
    fields[n++].u.i = RD_KAFKA_MSG_F_COPY;
    fields[n].vtype = RD_KAFKA_VTYPE_KEY;
    fields[n].u.mem.ptr = (void *)(uintptr_t)outgoing->key;
    fields[n++].u.mem.size = outgoing->key_size;
    fields[n].vtype = RD_KAFKA_VTYPE_VALUE;
    fields[n].u.mem.ptr = (void *)(uintptr_t)outgoing->value;
    fields[n++].u.mem.size = outgoing->value_size;
    for (const struct setting *header = outgoing->headers; header->name; header++) {
        if (n == FIXED_FIELDS + HEADERS_MAX)
            die("more than %d headers", HEADERS_MAX);
        fields[n].vtype = RD_KAFKA_VTYPE_HEADER;
        fields[n].u.header.name = header->name;
        fields[n].u.header.val = header->value;
        fields[n++].u.header.size = (ssize_t)strlen(header->value);
    }
    return n;
}

void client_send(rd_kafka_t *rk, const struct outgoing *outgoing)
{
    rd_kafka_vu_t fields[FIXED_FIELDS + HEADERS_MAX];
    size_t count = fill_fields(fields, outgoing);
    rd_kafka_error_t *error;

    while ((error = rd_kafka_produceva(rk, fields, count))) {
        if (rd_kafka_error_code(error) != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            die("produce: %s", rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
        (void)rd_kafka_poll(rk, 10);
    }
}

int64_t monotonic_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t cpu_us(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage);
    return ((int64_t)usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
           usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}
