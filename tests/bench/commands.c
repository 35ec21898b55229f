/* commands.c - see commands.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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
    uint64_t high = scramble(number * 2 + (kind == REGISTER_DEVICE));
    uint64_t low = scramble(high);

    (void)snprintf(id, UUID_SIZE + 1, "%08x-%04x-4%03x-%04x-%012" PRIx64,
                   (unsigned)(high >> 32), (unsigned)(high >> 16 & 0xffff),
                   (unsigned)(high & 0xfff), (unsigned)(low >> 48 & 0x3fff) | 0x8000,
                   low & 0xffffffffffffu);
}

void command_make(struct command *command, enum command_kind kind, uint64_t number,
                  uint64_t devices)
{
    uint64_t device = number % devices + 1;
    /* A device's users lie far apart, and neighbours share some. */
    uint64_t user = (number / devices * 7919 + device * 31) % 1000000;

    make_id(command->id, kind, number);
    (void)snprintf(command->key, sizeof(command->key), "device:%" PRIu64, device);
    if (kind == REGISTER_DEVICE) {
        command->type = "kinlog.RegisterDevice.v1";
        (void)snprintf(
            command->value, sizeof(command->value),
            "{\"ResourceID\":%" PRIu64 ",\"Name\":\"PC-%06" PRIu64
            "\",\"ClientType\":1,\"MACAddresses\":[\"00:15:5D:%02x:%02x:%02x\"],"
            "\"Domain\":\"CONTOSO\"}",
            device, device, (unsigned)(device >> 16 & 255), (unsigned)(device >> 8 & 255),
            (unsigned)(device & 255));
        return;
    }
    command->type = "kinlog.CreateRelationship.v1";
    (void)snprintf(command->value, sizeof(command->value),
                   "{\"MachineResourceId\":%" PRIu64
                   ",\"UserAccountName\":\"CONTOSO\\\\user%06" PRIu64
                   "\",\"SourceId\":%u,\"TypeId\":1}",
                   device, user, (unsigned)(number % 2 ? 4 : 2));
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
