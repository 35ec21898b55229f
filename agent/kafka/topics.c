/* topics.c - judges the five topics' settings, and creates topics with the right ones.
 *
 * What loses the log is refused: a missing topic, too few partitions, retention,
 * compaction or unclean leaders of the events, compaction of what is not decided or
 * carried out yet, commands whose timestamps their senders choose. The rest is a warning.
 * Every finding ends with the command that mends it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/kafka/kafka.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/kafka/handle.h"

#define TOPIC_COUNT 5
/* Slots of the key space: the number of shards divides it. */
#define SLOT_COUNT 240
/* What the broker gives a topic that nobody set a size for. */
#define DEFAULT_MESSAGE_BYTES 1048588
/* Headers that are added to a record on its way to the dead letters. */
#define DEAD_LETTER_EXTRA_BYTES (64 * 1024)
#define MESSAGE_BYTES_MIN (128 * 1024) /* of events and replies */
/* A value of 256 KiB, key and headers of 64 KiB, and what is added when it is forwarded.
 * */
#define COMMAND_BYTES_MIN ((256 + 64 + 1) * 1024)
#define DAY_MS INT64_C(86400000)
#define COMMANDS_RETENTION_DAYS 30
/* How long a missing topic is asked for. */
#define MISSING_PATIENCE_MS 5000

enum topic { COMMANDS, EVENTS, REPLIES, DEAD_LETTERS, STORAGE };
#define BIT(topic) (1u << (topic))
#define ALL_TOPICS ((1u << TOPIC_COUNT) - 1)

static_assert(STORAGE + 1 == TOPIC_COUNT, "the order of struct topic_names");

/* What the broker says about one topic. */
struct topic_state {
    const char *name;
    bool exists;
    bool readable; /* its settings were told */
    int32_t partitions;
    int32_t replication;
};

struct check {
    rd_kafka_t *rk;
    const char *bootstrap;
    int64_t deadline_ms;
    int32_t shards;
    int32_t brokers;
    struct topic_state topics[TOPIC_COUNT];
    struct topics_report report;
    bool out_of_memory;
};

static void names_of(const struct topic_names *names, const char *ret_names[TOPIC_COUNT])
{
    ret_names[COMMANDS] = names->commands;
    ret_names[EVENTS] = names->events;
    ret_names[REPLIES] = names->replies;
    ret_names[DEAD_LETTERS] = names->dead_letters;
    ret_names[STORAGE] = names->storage;
}

/* ---- the handle -------------------------------------------------------------------- */

static int open_admin(const struct kafka_settings *settings, rd_kafka_t **ret_rk,
                      struct error *err)
{
    rd_kafka_conf_t *conf;
    int r = handle_conf_new(settings, HANDLE_ADMIN, 0, &conf, err);

    return r < 0 ? r : handle_open(RD_KAFKA_CONSUMER, conf, ret_rk, err);
}

static int not_reached(rd_kafka_t *rk, const char *bootstrap, rd_kafka_resp_err_t code,
                       struct error *err)
{
    (void)rd_kafka_poll(rk, 0); /* the log lines that say why */
    (void)error_set(err, ERROR_TIMEOUT, "no broker of %s answers: %s",
                    bootstrap[0] ? bootstrap : "(bootstrap.servers is not set)",
                    rd_kafka_err2str(code));
    if (err)
        err->retriable = true;
    return ERROR_TIMEOUT;
}

/* The first contact: the number of brokers and the cluster's id. */
static int ask_cluster(rd_kafka_t *rk, const char *bootstrap, int64_t deadline_ms,
                       int32_t *ret_brokers, char *ret_id, size_t id_size,
                       struct error *err)
{
    const struct timespec pause = {0, 50000000};
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code;
    char *id;

    for (;;) {
        int remaining_ms = handle_remaining_ms(deadline_ms);

        code = rd_kafka_metadata(rk, 0, NULL, &metadata,
                                 remaining_ms > 0 ? remaining_ms : 1);
        if (!code)
            break;
        if (!handle_error_is_transient(code))
            return handle_error(err, code, bootstrap, NULL);
        if (handle_remaining_ms(deadline_ms) < 100)
            return not_reached(rk, bootstrap, code, err);
        (void)nanosleep(&pause, NULL);
    }
    *ret_brokers = metadata->broker_cnt;
    rd_kafka_metadata_destroy(metadata);
    id = rd_kafka_clusterid(rk, handle_remaining_ms(deadline_ms) + 1);
    if (!id)
        return not_reached(rk, bootstrap, RD_KAFKA_RESP_ERR__TIMED_OUT, err);
    (void)snprintf(ret_id, id_size, "%s", id);
    rd_kafka_mem_free(rk, id);
    return 0;
}

static int ask_topic(rd_kafka_t *rk, int64_t deadline_ms, struct topic_state *topic,
                     struct error *err)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic->name, NULL);
    struct error own = {0};
    int r;

    if (!handle)
        return handle_error(err, rd_kafka_last_error(), topic->name, NULL);
    r = handle_metadata(rk, handle, deadline_ms, &metadata, &own);
    rd_kafka_topic_destroy(handle);
    if (r == ERROR_NOT_FOUND)
        return 0;
    if (r < 0) {
        if (err && !err->code)
            *err = own;
        return r;
    }
    topic->exists = true;
    topic->partitions = metadata->topics[0].partition_cnt;
    topic->replication = metadata->topics[0].partitions[0].replica_cnt;
    rd_kafka_metadata_destroy(metadata);
    return 0;
}

/* ---- findings ---------------------------------------------------------------------- */

static void add_finding(struct check *check, enum topic_finding_level level,
                        const char *format, ...) __attribute__((format(printf, 3, 4)));

static void add_finding(struct check *check, enum topic_finding_level level,
                        const char *format, ...)
{
    struct topics_report *report = &check->report;
    struct topic_finding *findings;
    va_list args;

    findings = realloc(report->findings, (report->finding_count + 1) * sizeof(*findings));
    if (!findings) {
        check->out_of_memory = true;
        return;
    }
    report->findings = findings;
    findings += report->finding_count++;
    findings->level = level;
    va_start(args, format);
    (void)vsnprintf(findings->text, sizeof(findings->text), format, args);
    va_end(args);
    if (level == TOPIC_REFUSED)
        report->refused = true;
}

static void add_wrong_setting(struct check *check, enum topic_finding_level level,
                              const char *topic, const char *setting, const char *found,
                              const char *needed, const char *why)
{
    add_finding(check, level,
                "topic %s has %s=%s, needed is %s: %s. Mend it with: kafka-configs.sh "
                "--bootstrap-server %s --alter --entity-type topics --entity-name %s "
                "--add-config %s=%s",
                topic, setting, found, needed, why, check->bootstrap, topic, setting,
                needed);
}

/* ---- settings ---------------------------------------------------------------------- */

/* A setting that must have one value. */
struct rule {
    unsigned topics; /* BIT()s */
    const char *setting;
    const char *needed;
    enum topic_finding_level level;
    const char *why;
};

static const struct rule RULES[] = {
    {BIT(EVENTS), "retention.ms", "-1", TOPIC_REFUSED,
     "the events are the log of record, and the broker deletes them"},
    {BIT(EVENTS), "retention.bytes", "-1", TOPIC_REFUSED,
     "the events are the log of record, and the broker deletes them"},
    {BIT(STORAGE), "retention.ms", "-1", TOPIC_WARNING,
     "an executor that was away too long misses storage commands"},
    {BIT(STORAGE), "retention.bytes", "-1", TOPIC_WARNING,
     "an executor that was away too long misses storage commands"},
    {BIT(COMMANDS), "retention.bytes", "-1", TOPIC_WARNING,
     "commands may be deleted before they are decided"},
    {BIT(COMMANDS), "cleanup.policy", "delete", TOPIC_REFUSED,
     "compaction deletes commands before they are decided"},
    {BIT(EVENTS), "cleanup.policy", "delete", TOPIC_REFUSED,
     "compaction makes holes in the log of record"},
    {BIT(STORAGE), "cleanup.policy", "delete", TOPIC_REFUSED,
     "compaction deletes storage commands before they are carried out"},
    {BIT(REPLIES) | BIT(DEAD_LETTERS), "cleanup.policy", "delete", TOPIC_WARNING,
     "compaction keeps the last record of a key only"},
    {BIT(COMMANDS), "message.timestamp.type", "LogAppendTime", TOPIC_REFUSED,
     "else every sender chooses the time at which its command is decided"},
    {BIT(EVENTS), "unclean.leader.election.enable", "false", TOPIC_REFUSED,
     "a broker that lacks acknowledged events may become the leader, and the log of "
     "record loses them"},
    {BIT(COMMANDS) | BIT(STORAGE), "unclean.leader.election.enable", "false",
     TOPIC_WARNING, "a broker that lacks acknowledged records may become the leader"},
};

static int64_t number_of(const char *value)
{
    char *end;
    long long number = strtoll(value, &end, 10);

    return *value && !*end ? (int64_t)number : INT64_MIN;
}

static void judge_numbers(struct check *check, enum topic topic, const char *setting,
                          const char *value)
{
    const char *name = check->topics[topic].name;
    int64_t number = number_of(value);
    char found[64], needed[32];

    if (strcmp(setting, "max.message.bytes") == 0 && number > 0)
        check->report.max_message_bytes[topic] = (size_t)number;
    if (strcmp(setting, "min.insync.replicas") == 0 && check->brokers >= 3 && number < 2)
        add_wrong_setting(check, TOPIC_WARNING, name, setting, value, "2",
                          "one broker's acknowledgement is enough, and it may be lost");
    if (topic == COMMANDS && strcmp(setting, "retention.ms") == 0 && number >= 0 &&
        number < COMMANDS_RETENTION_DAYS * DAY_MS) {
        (void)snprintf(found, sizeof(found), "%s (%.1f days)", value,
                       (double)number / (double)DAY_MS);
        (void)snprintf(needed, sizeof(needed), "%" PRId64,
                       COMMANDS_RETENTION_DAYS * DAY_MS);
        add_wrong_setting(check, TOPIC_WARNING, name, setting, found, needed,
                          "commands that wait longer than that for an agent are lost");
    }
}

static void judge_setting(struct check *check, enum topic topic, const char *setting,
                          const char *value)
{
    for (size_t i = 0; i < sizeof(RULES) / sizeof(RULES[0]); i++) {
        const struct rule *rule = &RULES[i];

        if ((rule->topics & BIT(topic)) && strcmp(rule->setting, setting) == 0 &&
            strcmp(rule->needed, value) != 0)
            add_wrong_setting(check, rule->level, check->topics[topic].name, setting,
                              value, rule->needed, rule->why);
    }
    judge_numbers(check, topic, setting, value);
}

static void judge_settings(struct check *check, enum topic topic,
                           const rd_kafka_ConfigResource_t *resource)
{
    const char *name = check->topics[topic].name;
    rd_kafka_resp_err_t code = rd_kafka_ConfigResource_error(resource);
    const rd_kafka_ConfigEntry_t **entries;
    size_t count;

    if (code) {
        add_finding(
            check, TOPIC_WARNING,
            "the settings of topic %s could not be checked: %s. If the agent's user "
            "lacks "
            "the right: kafka-acls.sh --bootstrap-server %s --add --allow-principal "
            "User:<agent> --operation DescribeConfigs --topic %s",
            name, rd_kafka_err2str(code), check->bootstrap, name);
        return;
    }
    check->topics[topic].readable = true;
    entries = rd_kafka_ConfigResource_configs(resource, &count);
    for (size_t i = 0; i < count; i++) {
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);

        if (value)
            judge_setting(check, topic, rd_kafka_ConfigEntry_name(entries[i]), value);
    }
}

static void judge_resources(struct check *check,
                            const rd_kafka_DescribeConfigs_result_t *result)
{
    size_t count;
    const rd_kafka_ConfigResource_t **resources =
        rd_kafka_DescribeConfigs_result_resources(result, &count);

    for (int topic = 0; topic < TOPIC_COUNT; topic++)
        for (size_t i = 0; i < count; i++)
            if (strcmp(rd_kafka_ConfigResource_name(resources[i]),
                       check->topics[topic].name) == 0)
                judge_settings(check, (enum topic)topic, resources[i]);
}

/* Waits for the answer of an admin call. Given: the event. Options and queue are
 * freed. */
static int admin_answer(rd_kafka_t *rk, rd_kafka_AdminOptions_t *options,
                        rd_kafka_queue_t *queue, int64_t deadline_ms, const char *what,
                        rd_kafka_event_t **ret_event, struct error *err)
{
    rd_kafka_event_t *event =
        rd_kafka_queue_poll(queue, handle_remaining_ms(deadline_ms) + 500);
    rd_kafka_resp_err_t code =
        event ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    int r = 0;

    (void)rd_kafka_poll(rk, 0); /* log lines */
    if (code) {
        r = handle_error(err, code, what,
                         event ? rd_kafka_event_error_string(event) : NULL);
        if (event)
            rd_kafka_event_destroy(event);
    } else {
        *ret_event = event;
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    return r;
}

static rd_kafka_AdminOptions_t *admin_options(rd_kafka_t *rk,
                                              rd_kafka_admin_op_t operation,
                                              int64_t deadline_ms)
{
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(rk, operation);
    int remaining_ms = handle_remaining_ms(deadline_ms);
    char text[128];

    /* Fails on a time out of range only; then the library's own minute holds. */
    (void)rd_kafka_AdminOptions_set_request_timeout(
        options, remaining_ms > 0 ? remaining_ms : 1, text, sizeof(text));
    return options;
}

/* Given: the event with the settings of those topics that exist. */
static int describe(struct check *check, rd_kafka_event_t **ret_event, struct error *err)
{
    rd_kafka_ConfigResource_t *resources[TOPIC_COUNT];
    rd_kafka_AdminOptions_t *options =
        admin_options(check->rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, check->deadline_ms);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(check->rk);
    size_t count = 0;

    for (size_t i = 0; i < TOPIC_COUNT; i++)
        if (check->topics[i].exists)
            resources[count++] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC,
                                                             check->topics[i].name);
    rd_kafka_DescribeConfigs(check->rk, resources, count, options, queue);
    rd_kafka_ConfigResource_destroy_array(resources, count);
    return admin_answer(check->rk, options, queue, check->deadline_ms, "DescribeConfigs",
                        ret_event, err);
}

static int check_settings(struct check *check, struct error *err)
{
    rd_kafka_event_t *event = NULL;
    bool any = false;
    int r;

    for (size_t i = 0; i < TOPIC_COUNT; i++)
        any = any || check->topics[i].exists;
    if (!any)
        return 0;
    r = describe(check, &event, err);
    if (r < 0)
        return r;
    judge_resources(check, rd_kafka_event_DescribeConfigs_result(event));
    rd_kafka_event_destroy(event);
    return 0;
}

static void check_dead_letter_size(struct check *check)
{
    size_t commands = check->report.max_message_bytes[COMMANDS];
    size_t dead_letters = check->report.max_message_bytes[DEAD_LETTERS];
    char found[32], needed[32];

    if (commands == 0 || dead_letters == 0 ||
        dead_letters >= commands + DEAD_LETTER_EXTRA_BYTES)
        return;
    (void)snprintf(found, sizeof(found), "%zu", dead_letters);
    (void)snprintf(needed, sizeof(needed), "%zu", commands + DEAD_LETTER_EXTRA_BYTES);
    add_wrong_setting(check, TOPIC_WARNING, check->topics[DEAD_LETTERS].name,
                      "max.message.bytes", found, needed,
                      "a large record with the headers added to it does not fit");
}

/* A record that the topic does not take would hold up its shard for ever. The schemas
 * bound events and answers far below their limit. */
static void check_message_size(struct check *check, enum topic topic, int least,
                               enum topic_finding_level level, const char *why)
{
    size_t bytes = check->report.max_message_bytes[topic];
    char found[32], needed[32];

    if (bytes == 0 || bytes >= (size_t)least)
        return;
    (void)snprintf(found, sizeof(found), "%zu", bytes);
    (void)snprintf(needed, sizeof(needed), "%d", least);
    add_wrong_setting(check, level, check->topics[topic].name, "max.message.bytes", found,
                      needed, why);
}

/* ---- what each topic is created with ----------------------------------------------- */

struct topic_setting {
    unsigned topics;
    const char *setting;
    const char *value;
};

static const struct topic_setting CREATED_WITH[] = {
    {ALL_TOPICS, "cleanup.policy", "delete"},
    {ALL_TOPICS, "unclean.leader.election.enable", "false"},
    {BIT(COMMANDS), "message.timestamp.type", "LogAppendTime"},
    {BIT(COMMANDS), "retention.ms", "2592000000"},     /* 30 days */
    {BIT(REPLIES), "retention.ms", "604800000"},       /* 7 days */
    {BIT(DEAD_LETTERS), "retention.ms", "7776000000"}, /* 90 days */
    {BIT(EVENTS) | BIT(STORAGE), "retention.ms", "-1"},
    {BIT(COMMANDS) | BIT(EVENTS) | BIT(STORAGE), "retention.bytes", "-1"},
};

#define CREATED_WITH_COUNT (sizeof(CREATED_WITH) / sizeof(CREATED_WITH[0]))

static int32_t wanted_replication(int32_t brokers)
{
    if (brokers < 1)
        return 1;
    return brokers < 3 ? brokers : 3;
}

static size_t dead_letter_bytes(const struct check *check)
{
    size_t commands = check->report.max_message_bytes[COMMANDS];

    return (commands > 0 ? commands : DEFAULT_MESSAGE_BYTES) + DEAD_LETTER_EXTRA_BYTES;
}

/* ---- partitions and replicas ------------------------------------------------------- */

static void append(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void append(char *text, size_t size, const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text + used, size - used, format, args);
    va_end(args);
}

static void find_missing(struct check *check, enum topic topic, int32_t partitions)
{
    char command[512] = "";

    append(
        command, sizeof(command),
        "kafka-topics.sh --bootstrap-server %s --create --topic %s --partitions %" PRId32
        " --replication-factor %" PRId32,
        check->bootstrap, check->topics[topic].name, partitions,
        wanted_replication(check->brokers));
    for (size_t i = 0; i < CREATED_WITH_COUNT; i++)
        if (CREATED_WITH[i].topics & BIT(topic))
            append(command, sizeof(command), " --config %s=%s", CREATED_WITH[i].setting,
                   CREATED_WITH[i].value);
    if (topic == DEAD_LETTERS)
        append(command, sizeof(command), " --config max.message.bytes=%zu",
               dead_letter_bytes(check));
    if (check->brokers >= 3)
        append(command, sizeof(command), " --config min.insync.replicas=2");
    add_finding(
        check, TOPIC_REFUSED,
        "topic %s does not exist. Let `kinlog init` create it ([topics] create = true), "
        "or: %s",
        check->topics[topic].name, command);
}

static void find_wrong_count(struct check *check, enum topic topic,
                             enum topic_finding_level level, int32_t needed,
                             const char *why)
{
    const struct topic_state *state = &check->topics[topic];

    if (state->partitions < needed)
        add_finding(
            check, level,
            "topic %s has %" PRId32 " partitions, needed are %" PRId32 ": %s. Mend it "
            "with: kafka-topics.sh --bootstrap-server %s --alter --topic %s --partitions "
            "%" PRId32,
            state->name, state->partitions, needed, why, check->bootstrap, state->name,
            needed);
    else
        add_finding(
            check, level,
            "topic %s has %" PRId32 " partitions, needed are %" PRId32 ": %s. Partitions "
            "cannot be taken away: use another [topics] prefix, or, if nothing in it is "
            "needed any more, kafka-topics.sh --bootstrap-server %s --delete --topic %s "
            "and create it anew with --partitions %" PRId32,
            state->name, state->partitions, needed, why, check->bootstrap, state->name,
            needed);
}

/* The largest divisor of 240 that is not above count. */
static int32_t fitting_count(int32_t count)
{
    if (count > SLOT_COUNT)
        return SLOT_COUNT;
    while (count > 1 && SLOT_COUNT % count != 0)
        count--;
    return count > 1 ? count : 1;
}

/* The number of partitions that commands, events and storage must have: the log's number
 * of shards, or, before it has begun, what the commands topic has, or the events topic if
 * there is more in that. */
static int32_t needed_partitions(const struct check *check)
{
    int32_t commands = check->topics[COMMANDS].partitions;
    int32_t events = check->topics[EVENTS].partitions;
    int32_t count = commands > events ? commands : events;

    if (check->shards > 0)
        return check->shards;
    return count > 0 ? fitting_count(count) : 12;
}

static void check_partitions(struct check *check)
{
    int32_t needed = needed_partitions(check);
    const char *shards_why =
        check->shards > 0 ? "the log began with that many shards"
                          : "commands and events need the same number, a divisor of 240";

    for (int i = 0; i < TOPIC_COUNT; i++) {
        const struct topic_state *state = &check->topics[i];

        if (!state->exists) {
            find_missing(check, (enum topic)i, i == DEAD_LETTERS ? 1 : needed);
            continue;
        }
        if (i == EVENTS && check->shards > 0 && state->partitions > needed)
            add_finding(
                check, TOPIC_WARNING,
                "topic %s has %" PRId32 " partitions for the %" PRId32
                " shards of the log: the others stay empty, nothing is to be done",
                state->name, state->partitions, needed);
        else if ((i == COMMANDS || i == EVENTS) && state->partitions != needed)
            find_wrong_count(check, (enum topic)i, TOPIC_REFUSED, needed, shards_why);
        else if (i == STORAGE && state->partitions != needed)
            find_wrong_count(
                check, (enum topic)i,
                state->partitions < needed ? TOPIC_REFUSED : TOPIC_WARNING, needed,
                "a shard's storage commands go to the partition of its number");
        else if (i == REPLIES && state->partitions != needed)
            find_wrong_count(check, (enum topic)i, TOPIC_WARNING, needed,
                             "a shard's answers go to the partition of its number");
    }
}

static void check_replication(struct check *check)
{
    if (check->brokers < 3)
        return;
    for (size_t i = 0; i < TOPIC_COUNT; i++) {
        const struct topic_state *state = &check->topics[i];

        if (state->exists && state->replication < 3)
            add_finding(check, TOPIC_WARNING,
                        "topic %s has replication factor %" PRId32
                        ", needed is 3 where there are "
                        "three brokers: the loss of a broker's disk loses records. Mend "
                        "it with a "
                        "plan that names three brokers per partition: "
                        "kafka-reassign-partitions.sh --bootstrap-server %s "
                        "--reassignment-json-file PLAN.json --execute",
                        state->name, state->replication, check->bootstrap);
    }
}

/* ---- the check as a whole ---------------------------------------------------------- */

static int gather(struct check *check, struct error *err)
{
    int r = ask_cluster(check->rk, check->bootstrap, check->deadline_ms, &check->brokers,
                        check->report.cluster_id, sizeof(check->report.cluster_id), err);

    for (size_t i = 0; r == 0 && i < TOPIC_COUNT; i++)
        r = ask_topic(check->rk, check->deadline_ms, &check->topics[i], err);
    return r;
}

/* A topic just created, or a broker just started: what one broker does not know for a
 * moment another does. Asks for missing topics again, until the deadline. */
static int wait_for_topics(struct check *check, int64_t deadline_ms, struct error *err)
{
    const struct timespec pause = {0, 20000000};

    for (size_t i = 0; i < TOPIC_COUNT; i++) {
        while (!check->topics[i].exists && handle_remaining_ms(deadline_ms) > 0) {
            (void)nanosleep(&pause, NULL);
            int r = ask_topic(check->rk, check->deadline_ms, &check->topics[i], err);

            if (r < 0)
                return r;
        }
    }
    return 0;
}

static void begin_check(struct check *check, const struct kafka_settings *settings,
                        const struct topic_names *names, int timeout_ms)
{
    const char *all[TOPIC_COUNT];

    memset(check, 0, sizeof(*check));
    check->bootstrap = handle_bootstrap(settings);
    check->deadline_ms = handle_now_ms() + timeout_ms;
    names_of(names, all);
    for (size_t i = 0; i < TOPIC_COUNT; i++)
        check->topics[i].name = all[i];
}

/* At most half of the time: the settings of those that are there are asked for next. */
static int64_t missing_deadline_ms(const struct check *check)
{
    int half_ms = handle_remaining_ms(check->deadline_ms) / 2;

    return handle_now_ms() +
           (half_ms < MISSING_PATIENCE_MS ? half_ms : MISSING_PATIENCE_MS);
}

int topics_check(const struct kafka_settings *settings, const struct topic_names *names,
                 int32_t shards, int timeout_ms, struct topics_report *ret_report,
                 struct error *err)
{
    struct check check;
    int r;

    begin_check(&check, settings, names, timeout_ms);
    check.shards = shards;
    r = open_admin(settings, &check.rk, err);
    if (r < 0)
        return r;
    r = gather(&check, err);
    if (r == 0)
        r = wait_for_topics(&check, missing_deadline_ms(&check), err);
    /* The embedded broker knows no settings. */
    if (r == 0 && !settings->embedded)
        r = check_settings(&check, err);
    handle_destroy(check.rk, NULL, NULL);
    if (r == 0) {
        check.report.partitions = check.topics[COMMANDS].partitions;
        check_message_size(&check, EVENTS, MESSAGE_BYTES_MIN, TOPIC_REFUSED,
                           "an event may not fit, and would hold up its shard");
        check_message_size(&check, REPLIES, MESSAGE_BYTES_MIN, TOPIC_REFUSED,
                           "an answer may not fit, and would hold up its shard");
        check_message_size(&check, COMMANDS, COMMAND_BYTES_MIN, TOPIC_WARNING,
                           "a large command on the wrong partition may not fit when it "
                           "is forwarded, and "
                           "would hold up its shard");
        check_dead_letter_size(&check);
        check_partitions(&check);
        check_replication(&check);
    }
    if (r == 0 && check.out_of_memory)
        r = error_set(err, ERROR_NO_MEMORY, "out of memory");
    if (r < 0) {
        topics_report_release(&check.report);
        return r;
    }
    *ret_report = check.report;
    return 0;
}

void topics_report_release(struct topics_report *report)
{
    free(report->findings);
    memset(report, 0, sizeof(*report));
}

/* ---- creating ---------------------------------------------------------------------- */

static int set_topic_settings(const struct check *check, enum topic topic,
                              rd_kafka_NewTopic_t *new_topic, struct error *err)
{
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    char bytes[32];

    for (size_t i = 0; !code && i < CREATED_WITH_COUNT; i++)
        if (CREATED_WITH[i].topics & BIT(topic))
            code = rd_kafka_NewTopic_set_config(new_topic, CREATED_WITH[i].setting,
                                                CREATED_WITH[i].value);
    (void)snprintf(bytes, sizeof(bytes), "%zu", dead_letter_bytes(check));
    if (!code && topic == DEAD_LETTERS)
        code = rd_kafka_NewTopic_set_config(new_topic, "max.message.bytes", bytes);
    if (!code && check->brokers >= 3)
        code = rd_kafka_NewTopic_set_config(new_topic, "min.insync.replicas", "2");
    return code ? handle_error(err, code, check->topics[topic].name, NULL) : 0;
}

static int judge_creation(const rd_kafka_event_t *event, bool *ret_created,
                          struct error *err)
{
    const rd_kafka_CreateTopics_result_t *result =
        rd_kafka_event_CreateTopics_result((rd_kafka_event_t *)event);
    size_t count;
    const rd_kafka_topic_result_t **topics =
        rd_kafka_CreateTopics_result_topics(result, &count);

    for (size_t i = 0; i < count; i++) {
        rd_kafka_resp_err_t code = rd_kafka_topic_result_error(topics[i]);

        if (code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
            return 0; /* somebody was faster */
        if (code)
            return handle_error(err, code, rd_kafka_topic_result_name(topics[i]),
                                rd_kafka_topic_result_error_string(topics[i]));
        *ret_created = true;
    }
    return 0;
}

static int create_topic(struct check *check, enum topic topic, int32_t partitions,
                        bool *ret_created, struct error *err)
{
    const char *name = check->topics[topic].name;
    char text[256] = "";
    rd_kafka_NewTopic_t *new_topic;
    rd_kafka_AdminOptions_t *options;
    rd_kafka_queue_t *queue;
    rd_kafka_event_t *event = NULL;
    int r;

    new_topic = rd_kafka_NewTopic_new(
        name, partitions, wanted_replication(check->brokers), text, sizeof(text));
    if (!new_topic)
        return error_set(err, ERROR_INVALID, "topic %s: %s", name, text);
    r = set_topic_settings(check, topic, new_topic, err);
    if (r < 0) {
        rd_kafka_NewTopic_destroy(new_topic);
        return r;
    }
    options =
        admin_options(check->rk, RD_KAFKA_ADMIN_OP_CREATETOPICS, check->deadline_ms);
    /* The answer comes when the topic is there on all brokers. */
    (void)rd_kafka_AdminOptions_set_operation_timeout(options, 5000, text, sizeof(text));
    queue = rd_kafka_queue_new(check->rk);
    rd_kafka_CreateTopics(check->rk, &new_topic, 1, options, queue);
    rd_kafka_NewTopic_destroy(new_topic);
    r = admin_answer(check->rk, options, queue, check->deadline_ms, name, &event, err);
    if (r < 0)
        return r;
    r = judge_creation(event, ret_created, err);
    rd_kafka_event_destroy(event);
    return r;
}

/* The size of dead letters follows that of commands, which the broker's default may
 * decide: so it is read after commands were created. The findings of this reading are of
 * no use. */
static int read_command_size(struct check *check, struct error *err)
{
    int r;

    check->topics[COMMANDS].exists = true;
    r = check_settings(check, err);
    free(check->report.findings);
    check->report.findings = NULL;
    check->report.finding_count = 0;
    return r;
}

static int create_missing(struct check *check, int32_t partitions, int *ret_created,
                          struct error *err)
{
    static const enum topic order[TOPIC_COUNT] = {COMMANDS, EVENTS, REPLIES, STORAGE,
                                                  DEAD_LETTERS};
    int created = 0, r = 0;

    for (size_t i = 0; r == 0 && i < TOPIC_COUNT; i++) {
        enum topic topic = order[i];
        bool is_new = false;

        if (check->topics[topic].exists)
            continue;
        if (topic == DEAD_LETTERS)
            r = read_command_size(check, err);
        if (r == 0)
            r = create_topic(check, topic, topic == DEAD_LETTERS ? 1 : partitions,
                             &is_new, err);
        created += is_new;
    }
    if (r == 0)
        *ret_created = created;
    return r;
}

int topics_create(const struct kafka_settings *settings, const struct topic_names *names,
                  int32_t partitions, int timeout_ms, int *ret_created, struct error *err)
{
    struct check check;
    int r;

    *ret_created = 0;
    if (settings->embedded)
        return 0; /* it was made with its topics */
    begin_check(&check, settings, names, timeout_ms);
    r = open_admin(settings, &check.rk, err);
    if (r < 0)
        return r;
    r = gather(&check, err);
    if (r == 0)
        r = create_missing(&check, partitions, ret_created, err);
    for (size_t i = 0; i < TOPIC_COUNT; i++)
        check.topics[i].exists = false;
    if (r == 0)
        r = wait_for_topics(&check, check.deadline_ms, err);
    handle_destroy(check.rk, NULL, NULL);
    topics_report_release(&check.report);
    return r;
}
