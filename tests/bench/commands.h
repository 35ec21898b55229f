/* commands.h - the benchmark's commands: number i is always the same one, but for the day of
 * a report.
 *
 * RegisterDevice makes devices 1, 2, 3, ... CreateRelationship number i is about device
 * i mod devices + 1 and a user that this device does not have yet. Of a mix 60 % are these, 20
 * % report usage of one of the first MIX_USERS relationships, 10 % add an association, 10 %
 * delete one: number i those that AddAssociation made from number i / 10 on.
 *
 * A record is about 300 bytes with its headers, and has those that a client of CloudEvents
 * sends; its id is a random-looking UUID.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_BENCH_COMMANDS_H
#define TESTS_BENCH_COMMANDS_H

#include <librdkafka/rdkafka.h>
#include <stddef.h>
#include <stdint.h>

enum command_kind {
    REGISTER_DEVICE,
    CREATE_RELATIONSHIP,
    REPORT_USAGE,
    ADD_ASSOCIATION,
    DELETE_ASSOCIATION,
    MIX,
};

#define MIX_USERS 10000

#define UUID_SIZE 36

struct command {
    const char *type;
    char id[UUID_SIZE + 1];
    char key[32];
    char value[256];
};

/* As programs name it on their command line; ends the program if there is none. */
enum command_kind command_kind_of(const char *name);

/* devices: how many there are; a later run of commands goes on at a higher number. */
void command_make(struct command *command, enum command_kind kind, uint64_t number,
                  uint64_t devices);

/* Hands the command to a producer whose partitioner is murmur2_random. */
void command_send(const struct command *command, rd_kafka_t *rk, rd_kafka_topic_t *topic);

#endif
