/* settings.c - the user's properties and the agent's own, checked and made into a library
 * configuration.
 *
 * Three layers, later ones win: the agent's defaults, the user's properties in their
 * order, and the values that correctness rests on. The user is refused the last ones by
 * name, so that nobody believes in a setting that has no effect.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/kafka/handle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* librdkafka 2.6.1, the first that can log in to Kafka 4 with SCRAM. */
#define VERSION_WITH_SCRAM 0x020601ff

struct assignment {
    const char *name;
    const char *value;
};

static const struct assignment COMMON_DEFAULTS[] = {
    {"socket.nagle.disable", "true"}, /* else 40 ms per round trip on small requests */
    {"socket.keepalive.enable", "true"},  {"reconnect.backoff.ms", "100"},
    {"reconnect.backoff.max.ms", "1000"}, {NULL, NULL},
};

static const struct assignment SOURCE_DEFAULTS[] = {
    {"queued.max.messages.kbytes", "16384"},
    {"fetch.error.backoff.ms", "100"},
    {NULL, NULL},
};

static const struct assignment SOURCE_OWN[] = {
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "error"}, /* anything else skips lost records in silence */
    {"isolation.level", "read_committed"},
    {"check.crcs", "true"},
    /* One event per end of the partition that was reached. source_read_one() needs it to
     * tell "no such record" from "the broker is slow"; source_poll() skips it. */
    {"enable.partition.eof", "true"},
    {NULL, NULL},
};

static const struct assignment SINK_DEFAULTS[] = {
    /* Without it the first record of a batch leaves alone, and each request costs client
     * and broker as much as a hundred records. */
    {"linger.ms", "1"},
    /* An event takes 177 bytes instead of 744 on the brokers, an answer 89 instead of 662,
     * for 1 to 2 us more of the agent's time per command. */
    {"compression.codec", "lz4"},
    {"queue.buffering.max.kbytes", "65536"},
    {NULL, NULL},
};

static const struct assignment SINK_OWN[] = {
    {"enable.idempotence", "true"},
    {"acks", "all"},
    {"max.in.flight", "5"},
    {"message.timeout.ms", "0"}, /* nothing expires while the broker is away */
    {"delivery.report.only.error", "false"},
    {NULL, NULL},
};

/* Names, in the library's spelling and its aliases, that are the agent's own. */
static const char *const OWN_NAMES[] = {
    "isolation.level",
    "check.crcs",
    "auto.offset.reset",
    "enable.idempotence",
    "acks",
    "request.required.acks",
    "group.id",
    "group.instance.id",
    "enable.auto.commit",
    "auto.commit.enable",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.partition.eof",
    "transactional.id",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "retries",
    "message.send.max.retries",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "message.max.bytes", /* follows the topics' max.message.bytes */
    "delivery.report.only.error",
    "queuing.strategy",
    "allow.auto.create.topics",
    "log.queue",
    "enabled_events",
    "opaque",
    "interceptors",
    "default_topic_conf",
    "msg_order_cmp",
    NULL,
};

static bool is_own(const char *name)
{
    static const char mock[] = "test.mock.", callback[] = "_cb";
    size_t size = strlen(name);

    for (size_t i = 0; OWN_NAMES[i]; i++)
        if (strcmp(name, OWN_NAMES[i]) == 0)
            return true;
    return strncmp(name, mock, sizeof(mock) - 1) == 0 ||
           (size >= sizeof(callback) - 1 &&
            strcmp(name + size - (sizeof(callback) - 1), callback) == 0);
}

/* Properties whose refused value the library would quote in its text. */
static bool is_secret(const char *name)
{
    return strstr(name, "password") || strstr(name, "secret") || strstr(name, ".pem") ||
           strstr(name, "username") || strcmp(name, "sasl.oauthbearer.config") == 0 ||
           strncmp(name, "ssl_", 4) == 0;
}

static int set_own(rd_kafka_conf_t *conf, const char *name, const char *value,
                   struct error *err)
{
    char text[512];

    if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) != RD_KAFKA_CONF_OK)
        return error_set(err, ERROR_CONFIG,
                         "this librdkafka (%s) refuses a setting of ours: %s",
                         rd_kafka_version_str(), text);
    return 0;
}

static int set_all(rd_kafka_conf_t *conf, const struct assignment *assignments,
                   struct error *err)
{
    for (; assignments->name; assignments++) {
        int r = set_own(conf, assignments->name, assignments->value, err);

        if (r < 0)
            return r;
    }
    return 0;
}

static int set_property(rd_kafka_conf_t *conf, const struct kafka_property *property,
                        struct error *err)
{
    char text[512];
    const char *origin = property->origin ? property->origin : "configuration";

    if (is_own(property->name))
        return error_set(err, ERROR_CONFIG,
                         "%s: Kafka property \"%s\" is the agent's own and cannot be set",
                         origin, property->name);
    switch (
        rd_kafka_conf_set(conf, property->name, property->value, text, sizeof(text))) {
    case RD_KAFKA_CONF_OK:
        return 0;
    case RD_KAFKA_CONF_UNKNOWN:
        return error_set(err, ERROR_CONFIG,
                         "%s: Kafka property \"%s\" is not known to librdkafka %s",
                         origin, property->name, rd_kafka_version_str());
    case RD_KAFKA_CONF_INVALID:
    default:
        return error_set(
            err, ERROR_CONFIG, "%s: Kafka property \"%s\": %s", origin, property->name,
            is_secret(property->name) ? "librdkafka refuses the value" : text);
    }
}

static int set_properties(rd_kafka_conf_t *conf, const struct kafka_property *properties,
                          size_t count, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        int r = set_property(conf, &properties[i], err);

        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- per role ---------------------------------------------------------------------- */

static int set_source_defaults(rd_kafka_conf_t *conf,
                               const struct kafka_settings *settings, struct error *err)
{
    int r = set_all(conf, SOURCE_DEFAULTS, err);

    if (r < 0)
        return r;
    /* The mock broker does not end a long poll when data arrives. */
    return set_own(conf, "fetch.wait.max.ms", settings->embedded ? "10" : "100", err);
}

static int set_source_own(rd_kafka_conf_t *conf, const struct kafka_settings *settings,
                          struct error *err)
{
    int r = set_all(conf, SOURCE_OWN, err);

    /* The mock broker's answer to "false" would be a warning in the log. */
    if (r == 0)
        r = set_own(conf, "allow.auto.create.topics",
                    settings->embedded ? "true" : "false", err);
    if (r < 0)
        return r;
    return set_own(conf, "group.id", settings->group_id ? settings->group_id : "kinlog",
                   err);
}

/* The broker limits the batch as it arrives, header and all; the library limits the
 * single message before compression, and the batch only by batch.size. So the message
 * gets the topic's limit less the 61 bytes of a batch header, and the batch a bit less
 * than the topic's limit. */
static int set_sizes(rd_kafka_conf_t *conf, size_t max_message_bytes, struct error *err)
{
    const size_t batch_header = 61, margin = 1000, least = 1000, most = 1000000000;
    size_t message_max = max_message_bytes, batch_max;
    char present[32], number[32];
    size_t size = sizeof(present);
    int r;

    if (message_max > most)
        message_max = most;
    message_max = message_max > least + batch_header ? message_max - batch_header : least;
    batch_max = max_message_bytes > 2 * margin ? max_message_bytes - margin : least;
    (void)snprintf(number, sizeof(number), "%zu", message_max);
    r = set_own(conf, "message.max.bytes", number, err);
    if (r < 0)
        return r;
    if (rd_kafka_conf_get(conf, "batch.size", present, &size) == RD_KAFKA_CONF_OK &&
        strtoull(present, NULL, 10) <= batch_max)
        return 0;
    (void)snprintf(number, sizeof(number), "%zu", batch_max);
    return set_own(conf, "batch.size", number, err);
}

static int set_defaults(rd_kafka_conf_t *conf, const struct kafka_settings *settings,
                        enum handle_role role, struct error *err)
{
    int r = set_all(conf, COMMON_DEFAULTS, err);

    if (r == 0 && settings->client_id)
        r = set_own(conf, "client.id", settings->client_id, err);
    if (r == 0 && role == HANDLE_SOURCE)
        r = set_source_defaults(conf, settings, err);
    if (r == 0 && (role == HANDLE_LOG_SINK || role == HANDLE_OUTBOX_SINK))
        r = set_all(conf, SINK_DEFAULTS, err);
    return r;
}

static int set_users(rd_kafka_conf_t *conf, const struct kafka_settings *settings,
                     enum handle_role role, struct error *err)
{
    int r = set_properties(conf, settings->common, settings->common_count, err);

    if (r == 0 && role == HANDLE_SOURCE)
        r = set_properties(conf, settings->consumer, settings->consumer_count, err);
    if (r == 0 && (role == HANDLE_LOG_SINK || role == HANDLE_OUTBOX_SINK))
        r = set_properties(conf, settings->producer, settings->producer_count, err);
    return r;
}

static int set_owns(rd_kafka_conf_t *conf, const struct kafka_settings *settings,
                    enum handle_role role, size_t max_message_bytes, struct error *err)
{
    int r = set_own(conf, "log.queue", "true", err);

    if (r == 0 && role == HANDLE_SOURCE)
        r = set_source_own(conf, settings, err);
    if (r == 0 && (role == HANDLE_LOG_SINK || role == HANDLE_OUTBOX_SINK)) {
        r = set_all(conf, SINK_OWN, err);
        if (r == 0 && max_message_bytes > 0)
            r = set_sizes(conf, max_message_bytes, err);
    }
    if (r == 0 && role == HANDLE_LOG_SINK)
        r = set_own(conf, "enable.gapless.guarantee", "true", err);
    if (r == 0 && role == HANDLE_ADMIN)
        r = set_own(conf, "allow.auto.create.topics",
                    settings->embedded ? "true" : "false", err);
    return r;
}

int handle_conf_new(const struct kafka_settings *settings, enum handle_role role,
                    size_t max_message_bytes, rd_kafka_conf_t **ret_conf,
                    struct error *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    int r;

    r = set_defaults(conf, settings, role, err);
    if (r == 0)
        r = set_users(conf, settings, role, err);
    if (r == 0)
        r = set_owns(conf, settings, role, max_message_bytes, err);
    if (r < 0) {
        rd_kafka_conf_destroy(conf);
        return r;
    }
    *ret_conf = conf;
    return 0;
}

/* ---- the check --------------------------------------------------------------------- */

/* The last value of a property that goes by two names; NULL if it is not set. */
static const char *find_common(const struct kafka_settings *settings, const char *name,
                               const char *alias)
{
    const char *value = NULL;

    for (size_t i = 0; i < settings->common_count; i++)
        if (strcmp(settings->common[i].name, name) == 0 ||
            strcmp(settings->common[i].name, alias) == 0)
            value = settings->common[i].value;
    return value;
}

const char *handle_bootstrap(const struct kafka_settings *settings)
{
    const char *value =
        find_common(settings, "bootstrap.servers", "metadata.broker.list");

    return value ? value : "";
}

/* Says where the property was set that the error's text is about. */
static void add_origin(const struct kafka_property *properties, size_t count,
                       struct error *err)
{
    for (size_t i = count; err && i > 0; i--) {
        const struct kafka_property *property = &properties[i - 1];

        if (property->origin && strstr(err->text, property->name)) {
            error_prefix(err, "%s", property->origin);
            return;
        }
    }
}

/* Whether the properties fit together is known to rd_kafka_new() only; without a broker
 * list it talks to nobody. */
static int check_together(const struct kafka_settings *settings, enum handle_role role,
                          struct error *err)
{
    rd_kafka_type_t type = role == HANDLE_SOURCE ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER;
    rd_kafka_conf_t *conf;
    rd_kafka_t *rk;
    int r;

    r = handle_conf_new(settings, role, 0, &conf, err);
    if (r < 0)
        return r;
    r = set_own(conf, "bootstrap.servers", "", err);
    if (r == 0)
        r = set_own(conf, "log_level", "0", err);
    if (r < 0) {
        rd_kafka_conf_destroy(conf);
        return r;
    }
    r = handle_open(type, conf, &rk, err);
    if (r < 0) {
        add_origin(settings->common, settings->common_count, err);
        if (role == HANDLE_SOURCE)
            add_origin(settings->consumer, settings->consumer_count, err);
        else
            add_origin(settings->producer, settings->producer_count, err);
        return r;
    }
    handle_destroy(rk, NULL, NULL);
    return 0;
}

static bool uses_scram(const struct kafka_settings *settings)
{
    const char *mechanism = find_common(settings, "sasl.mechanisms", "sasl.mechanism");

    return mechanism && strncmp(mechanism, "SCRAM-", 6) == 0;
}

static int check_names(const struct kafka_property *properties, size_t count,
                       struct error *err)
{
    for (size_t i = 0; i < count; i++)
        if (!properties[i].name || !properties[i].name[0] || !properties[i].value)
            return error_set(
                err, ERROR_CONFIG, "%s: a Kafka property without a name or value",
                properties[i].origin ? properties[i].origin : "configuration");
    return 0;
}

int kafka_settings_check(const struct kafka_settings *settings, struct error *err)
{
    int r = check_names(settings->common, settings->common_count, err);

    if (r == 0)
        r = check_names(settings->consumer, settings->consumer_count, err);
    if (r == 0)
        r = check_names(settings->producer, settings->producer_count, err);
    if (r == 0)
        r = check_together(settings, HANDLE_SOURCE, err);
    if (r == 0)
        r = check_together(settings, HANDLE_LOG_SINK, err);
    if (r < 0)
        return r;
    if (handle_bootstrap(settings)[0] == '\0')
        return error_set(
            err, ERROR_CONFIG,
            "[kafka] bootstrap.servers is not set: it names the brokers, for "
            "example localhost:9092");
    if (uses_scram(settings) && rd_kafka_version() < VERSION_WITH_SCRAM)
        handle_log(
            4, "SCRAM",
            "this librdkafka cannot log in to Kafka 4 with SCRAM (mended in 2.6.1); use "
            "a client certificate, or PLAIN inside TLS");
    return 0;
}
