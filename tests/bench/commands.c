/* commands.c - see commands.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/bench/client.h"

#define SOURCE "urn:example:bench:loader"
#define TIME "2026-01-15T09:30:00.250Z"

/* splitmix64: a bijection, so that ids never meet. */
static uint64_t scramble(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void make_id(char *id, enum command_kind kind, uint64_t number)
{
    uint64_t high = scramble(number * MIX + kind);
    uint64_t low = scramble(high);

    (void)snprintf(id, UUID_SIZE + 1, "%08x-%04x-4%03x-%04x-%012" PRIx64,
                   (unsigned)(high >> 32), (unsigned)(high >> 16 & 0xffff),
                   (unsigned)(high & 0xfff), (unsigned)(low >> 48 & 0x3fff) | 0x8000,
                   low & 0xffffffffffffu);
}

enum command_kind command_kind_of(const char *name)
{
    static const struct {
        const char *name;
        enum command_kind kind;
    } kinds[] = {
        {"device", REGISTER_DEVICE},
        {"create", CREATE_RELATIONSHIP},
        {"associate", ADD_ASSOCIATION},
        {"mix", MIX},
    };

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return kinds[i].kind;
    die("there are no commands of kind '%s'", name);
}

/* ---- one function per kind --------------------------------------------------------- */

#define VALUE command->value, sizeof(command->value)

static void aim_at(struct command *command, const char *type, uint64_t device)
{
    command->type = type;
    (void)snprintf(command->key, sizeof(command->key), "device:%" PRIu64, device);
}

/* Of relationship number i. A device's users lie far apart, and neighbours share some. */
static uint64_t user_of(uint64_t number, uint64_t devices)
{
    uint64_t device = number % devices + 1;

    return (number / devices * 7919 + device * 31) % 1000000;
}

static void register_device(struct command *command, uint64_t number, uint64_t devices)
{
    uint64_t device = number % devices + 1;

    aim_at(command, "kinlog.RegisterDevice.v1", device);
    (void)snprintf(VALUE,
                   "{\"ResourceID\":%" PRIu64 ",\"Name\":\"PC-%06" PRIu64
                   "\",\"ClientType\":1,\"MACAddresses\":[\"00:15:5D:%02x:%02x:%02x\"],"
                   "\"Domain\":\"CONTOSO\"}",
                   device, device, (unsigned)(device >> 16 & 255),
                   (unsigned)(device >> 8 & 255), (unsigned)(device & 255));
}

static void create_relationship(struct command *command, uint64_t number,
                                uint64_t devices)
{
    uint64_t device = number % devices + 1;

    aim_at(command, "kinlog.CreateRelationship.v1", device);
    (void)snprintf(VALUE,
                   "{\"MachineResourceId\":%" PRIu64
                   ",\"UserAccountName\":\"CONTOSO\\\\user%06" PRIu64
                   "\",\"SourceId\":%u,\"TypeId\":1}",
                   device, user_of(number, devices), (unsigned)(number % 2 ? 4 : 2));
}

/* Of this day, which has room for all of a user's reports. */
static void report_usage(struct command *command, uint64_t number, uint64_t devices)
{
    uint64_t device = number % devices + 1;
    time_t now = time(NULL);
    struct tm day;
    char start[sizeof("2026-01-15T00:00:00Z")];

    (void)gmtime_r(&now, &day);
    (void)strftime(start, sizeof(start), "%Y-%m-%dT00:00:00Z", &day);
    aim_at(command, "kinlog.ReportUsage.v1", device);
    (void)snprintf(VALUE,
                   "{\"ResourceID\":%" PRIu64
                   ",\"UniqueUserName\":\"CONTOSO\\\\user%06" PRIu64
                   "\",\"Start\":\"%s\",\"Minutes\":1,\"Count\":1}",
                   device, user_of(number, devices), start);
}

/* Pair number i; there are devices * (devices - 1). */
static void associate(struct command *command, const char *type, uint64_t number,
                      uint64_t devices)
{
    uint64_t source = number % devices;
    uint64_t restore = (source + 1 + number / devices) % devices;

    aim_at(command, type, source + 1);
    (void)snprintf(VALUE,
                   "{\"SourceClientResourceID\":%" PRIu64
                   ",\"RestoreClientResourceID\":%" PRIu64 "}",
                   source + 1, restore + 1);
}

static void make_one_of_mix(struct command *command, uint64_t number, uint64_t devices)
{
    uint64_t pair = number / 10;

    switch (number % 10) {
    case 3:
    case 8:
        command_make(command, REPORT_USAGE, number, devices);
        break;
    case 4:
        command_make(command, DELETE_ASSOCIATION, pair, devices);
        break;
    case 9: /* one that there is not yet */
        command_make(command, ADD_ASSOCIATION, pair + devices * (devices - 1) / 2,
                     devices);
        break;
    default:
        command_make(command, CREATE_RELATIONSHIP, number, devices);
        break;
    }
}

void command_make(struct command *command, enum command_kind kind, uint64_t number,
                  uint64_t devices)
{
    if (kind == MIX) {
        make_one_of_mix(command, number, devices);
        return;
    }
    make_id(command->id, kind, number);
    switch (kind) {
    case REGISTER_DEVICE:
        register_device(command, number, devices);
        break;
    case CREATE_RELATIONSHIP:
        create_relationship(command, number, devices);
        break;
    case REPORT_USAGE:
        report_usage(command, number % MIX_USERS, devices);
        break;
    case ADD_ASSOCIATION:
        associate(command, "kinlog.AddAssociation.v1", number, devices);
        break;
    case DELETE_ASSOCIATION:
        associate(command, "kinlog.DeleteAssociation.v1", number, devices);
        break;
    case MIX:
        break;
    }
}

void command_send(const struct command *command, rd_kafka_t *rk, rd_kafka_topic_t *topic)
{
    const struct setting headers[] = {
        {"ce_specversion", "1.0"},
        {"ce_id", command->id},
        {"ce_source", SOURCE},
        {"ce_type", command->type},
        {"ce_time", TIME},
        {"content-type", "application/json"},
        {NULL, NULL},
    };
    const struct outgoing outgoing = {
        .topic = topic,
        .partition = RD_KAFKA_PARTITION_UA,
        .key = command->key,
        .key_size = strlen(command->key),
        .value = command->value,
        .value_size = strlen(command->value),
        .headers = headers,
    };

    client_send(rk, &outgoing);
}
