/* envelope.c - see envelope.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/shard/envelope.h"

#include <string.h>

#include "events/base/datetime.h"

/* ---- attributes -------------------------------------------------------------------- */

/* In the order of messages.md 2; of several bad ones the first is named. */
#define ATTRIBUTES(X)                                                                    \
    X(SPECVERSION, "specversion", ATTRIBUTE_BYTES_MAX)                                   \
    X(ID, "id", COMMAND_ID_BYTES_MAX)                                                    \
    X(SOURCE, "source", COMMAND_ID_BYTES_MAX)                                            \
    X(TYPE, "type", ATTRIBUTE_BYTES_MAX)                                                 \
    X(TIME, "time", RECORD_REST_BYTES_MAX)                                               \
    X(SUBJECT, "subject", RECORD_REST_BYTES_MAX)                                         \
    X(DATACONTENTTYPE, "datacontenttype", RECORD_REST_BYTES_MAX)                         \
    X(DATASCHEMA, "dataschema", RECORD_REST_BYTES_MAX)                                   \
    X(CORRELATIONID, "correlationid", ATTRIBUTE_BYTES_MAX)                               \
    X(CAUSATIONID, "causationid", ATTRIBUTE_BYTES_MAX)                                   \
    X(TRACEPARENT, "traceparent", ATTRIBUTE_BYTES_MAX)                                   \
    X(TRACESTATE, "tracestate", TRACESTATE_BYTES_MAX)                                    \
    X(EXPIRYTIME, "expirytime", ATTRIBUTE_BYTES_MAX)                                     \
    X(ACTOR, "actor", ATTRIBUTE_BYTES_MAX)                                               \
    X(EXPECTEDVERSION, "expectedversion", ATTRIBUTE_BYTES_MAX)                           \
    X(REPLYTO, "replyto", ATTRIBUTE_BYTES_MAX)

enum attribute {
#define X(name, text, size) ATTRIBUTE_##name,
    ATTRIBUTES(X)
#undef X
        ATTRIBUTE_COUNT
};

static const struct {
    const char *name;
    size_t size_max;
} attributes[ATTRIBUTE_COUNT] = {
#define X(name, text, size) {text, size},
    ATTRIBUTES(X)
#undef X
};

struct attribute_value {
    struct bytes text; /* absent = not there, or bad */
    bool seen;
    const char *fault; /* NULL = none */
};

struct reader {
    const struct record *record;
    struct arena *arena;
    struct envelope *envelope;
    struct attribute_value values[ATTRIBUTE_COUNT];
};

static const char fault_twice[] = "the attribute is there twice: send it once";
static const char fault_text[] =
    "the attribute is not UTF-8, or holds control characters: send printable UTF-8";
static const char fault_long[] =
    "the attribute is too long: at most 255 bytes (tracestate 512)";
static const char fault_string[] = "the attribute must be a JSON string";

static int find_attribute(struct bytes name)
{
    for (int i = 0; i < ATTRIBUTE_COUNT; i++) {
        if (bytes_equal_str(name, attributes[i].name))
            return i;
    }
    return -1;
}

/* Length of the well-formed UTF-8 sequence at text, 0 if there is none (RFC 3629). */
static size_t utf8_sequence(struct bytes text)
{
    static const struct {
        uint8_t first, last, second_min, second_max, size;
    } forms[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2},
        {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
        {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (text.data[0] < forms[i].first || text.data[0] > forms[i].last)
            continue;
        if (text.size < forms[i].size)
            return 0;
        if (forms[i].size > 1 &&
            (text.data[1] < forms[i].second_min || text.data[1] > forms[i].second_max))
            return 0;
        for (size_t k = 2; k < forms[i].size; k++) {
            if ((text.data[k] & 0xc0) != 0x80)
                return 0;
        }
        return forms[i].size;
    }
    return 0;
}

/* CloudEvents 1.0, "String": no control characters U+0000-1F and U+007F-9F. */
static bool is_attribute_text(struct bytes text)
{
    while (text.size > 0) {
        size_t size = utf8_sequence(text);
        if (size == 0 || text.data[0] < 0x20 || text.data[0] == 0x7f ||
            (text.data[0] == 0xc2 && text.data[1] < 0xa0))
            return false;
        text = bytes_of(text.data + size, text.size - size);
    }
    return true;
}

static void set_attribute(struct reader *reader, enum attribute attribute,
                          struct bytes text)
{
    struct attribute_value *value = &reader->values[attribute];

    if (value->seen) {
        value->fault = fault_twice;
        value->text = BYTES_ABSENT;
        return;
    }
    value->seen = true;
    if (text.data == NULL)
        return;
    if (text.size > attributes[attribute].size_max)
        value->fault = fault_long;
    else if (!is_attribute_text(text))
        value->fault = fault_text;
    else
        value->text = text;
}

/* ---- media types ------------------------------------------------------------------- */

static bool equal_ignoring_case(struct bytes text, const char *lower)
{
    if (text.size != strlen(lower))
        return false;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (c >= 'A' && c <= 'Z')
            c = (uint8_t)(c - 'A' + 'a');
        if (c != (uint8_t)lower[i])
            return false;
    }
    return true;
}

/* Without parameters and blanks around it. */
static struct bytes media_type(struct bytes text)
{
    const uint8_t *semicolon = text.size > 0 ? memchr(text.data, ';', text.size) : NULL;

    if (semicolon != NULL)
        text.size = (size_t)(semicolon - text.data);
    while (text.size > 0 && text.data[0] == ' ')
        text = bytes_of(text.data + 1, text.size - 1);
    while (text.size > 0 && text.data[text.size - 1] == ' ')
        text.size--;
    return text;
}

static bool is_cloudevents(struct bytes type)
{
    static const char prefix[] = "application/cloudevents";
    size_t size = sizeof prefix - 1;

    return type.size >= size && equal_ignoring_case(bytes_of(type.data, size), prefix);
}

static bool is_json(struct bytes type)
{
    return equal_ignoring_case(type, "application/json") ||
           equal_ignoring_case(type, "text/json") ||
           (type.size > 5 &&
            equal_ignoring_case(bytes_of(type.data + type.size - 5, 5), "+json"));
}

/* ---- modes ------------------------------------------------------------------------- */

static void note_bad(struct envelope *envelope, const char *attribute, const char *text)
{
    if (envelope->bad_attribute == NULL) {
        envelope->bad_attribute = attribute;
        envelope->bad_text = text;
    }
}

static struct bytes header_attribute_name(struct bytes name)
{
    if (bytes_has_prefix(name, bytes_str("ce_")))
        return bytes_of(name.data + 3, name.size - 3);
    return BYTES_ABSENT;
}

static void read_binary_attributes(struct reader *reader)
{
    for (size_t i = 0; i < reader->record->header_count; i++) {
        const struct header *header = &reader->record->headers[i];
        struct bytes name = header_attribute_name(header->name);
        int attribute = name.data != NULL ? find_attribute(name) : -1;
        if (equal_ignoring_case(header->name, "content-type"))
            attribute = ATTRIBUTE_DATACONTENTTYPE;
        if (attribute >= 0)
            set_attribute(reader, (enum attribute)attribute, header->value);
    }
}

/* An attribute of structured mode: a string; null = absent; expectedversion may be a
 * number. */
static int set_json_attribute(struct reader *reader, enum attribute attribute,
                              struct bytes raw)
{
    struct buf number = BUF_INIT;
    struct bytes text = BYTES_ABSENT;
    int code = 0;

    if (raw.data[0] == '"') {
        struct codec_error doubt;
        bool sound = codec_check_json(raw, &doubt) == CODEC_OK;
        /* a fault of the text */
        text = sound ? codec_string(raw, reader->arena) : bytes_str("\x01");
        if (text.data == NULL)
            return ERROR_NO_MEMORY;
    } else if (attribute == ATTRIBUTE_EXPECTEDVERSION && raw.data[0] >= '0' &&
               raw.data[0] <= '9') {
        code = codec_canonical(raw, &number);
        if (code == 0 &&
            (text = arena_copy(reader->arena, buf_bytes(&number))).data == NULL)
            code = ERROR_NO_MEMORY;
    } else if (raw.data[0] != 'n') {
        reader->values[attribute].seen = true;
        reader->values[attribute].fault = fault_string;
        return 0;
    }
    if (code == 0)
        set_attribute(reader, attribute, text);
    buf_release(&number);
    return code;
}

static int read_structured_member(struct reader *reader, struct bytes name,
                                  struct bytes raw)
{
    int attribute = find_attribute(name);

    if (attribute >= 0)
        return set_json_attribute(reader, (enum attribute)attribute, raw);
    if (bytes_equal_str(name, "data") && raw.data[0] != 'n') {
        reader->envelope->data_twice |= reader->envelope->data.data != NULL;
        if (!reader->envelope->data_twice)
            reader->envelope->data = raw;
    } else if (bytes_equal_str(name, "data_base64") && raw.data[0] != 'n')
        note_bad(
            reader->envelope, "data_base64",
            "data_base64 is not accepted: send the parameters as a JSON object in data");
    return 0;
}

static int read_structured(struct reader *reader)
{
    struct bytes json = reader->record->value, name, raw;
    struct codec_error fault;
    size_t position = 0;
    int code;

    switch (codec_check_grammar(json, &fault)) {
    case CODEC_OK:
        break;
    case CODEC_LIMIT:
        reader->envelope->dead_reason = "the structured CloudEvent is over the limits "
                                        "(256 KiB, depth 32, 4,096 values)";
        return 0;
    case CODEC_NO_MEMORY:
        return ERROR_NO_MEMORY;
    default:
        reader->envelope->dead_reason =
            "the structured CloudEvent is not valid JSON in UTF-8";
        return 0;
    }
    while ((code = codec_next_member(json, &position, reader->arena, &name, &raw)) == 0) {
        code = read_structured_member(reader, name, raw);
        if (code != 0)
            return code;
    }
    if (code == ERROR_NO_MEMORY)
        return code;
    if (code == ERROR_INVALID)
        reader->envelope->dead_reason = "a structured CloudEvent must be a JSON object";
    return 0;
}

static bool has_specversion(struct bytes json, struct arena *arena)
{
    struct codec_error fault;
    struct bytes name, raw;
    size_t position = 0;

    if (json.size == 0 || codec_check_grammar(json, &fault) != CODEC_OK)
        return false;
    while (codec_next_member(json, &position, arena, &name, &raw) == 0) {
        if (bytes_equal_str(name, "specversion"))
            return true;
    }
    return false;
}

static bool has_cloudevents_header(const struct record *record)
{
    static const char *const telling[] = {"ce_id", "ce_source", "ce_type",
                                          "ce_specversion"};

    for (size_t i = 0; i < record->header_count; i++) {
        for (size_t k = 0; k < sizeof telling / sizeof telling[0]; k++) {
            if (bytes_equal_str(record->headers[i].name, telling[k]))
                return true;
        }
    }
    return false;
}

static struct bytes content_type(const struct record *record)
{
    for (size_t i = 0; i < record->header_count; i++) {
        if (equal_ignoring_case(record->headers[i].name, "content-type"))
            return media_type(record->headers[i].value);
    }
    return BYTES_ABSENT;
}

static const char *no_envelope(struct bytes value)
{
    const char *mistake = envelope_sender_mistake(value);

    if (mistake != NULL)
        return mistake;
    if (value.data == NULL)
        return "a tombstone without CloudEvents headers: send ce_id and ce_source, and a "
               "value";
    return "no CloudEvent: neither ce_ headers nor a JSON object with specversion; send "
           "ce_id, "
           "ce_source, ce_type and ce_specversion";
}

static int read_mode(struct reader *reader)
{
    const struct record *record = reader->record;
    struct bytes type = content_type(record);

    if (is_cloudevents(type)) {
        if (equal_ignoring_case(type, "application/cloudevents+json"))
            return read_structured(reader);
        note_bad(reader->envelope, "datacontenttype",
                 "only application/cloudevents+json is read of the structured modes");
        if (!has_cloudevents_header(record)) {
            reader->envelope->dead_reason =
                "only application/cloudevents+json is read of the structured modes";
            return 0;
        }
    }
    if (has_cloudevents_header(record)) {
        read_binary_attributes(reader);
        reader->envelope->data = record->value;
        return 0;
    }
    if (has_specversion(record->value, reader->arena))
        return read_structured(reader);
    reader->envelope->dead_reason = no_envelope(record->value);
    return 0;
}

/* ---- from attributes to the envelope ----------------------------------------------- */

static void judge_id(struct reader *reader)
{
    struct envelope *envelope = reader->envelope;
    struct bytes id = reader->values[ATTRIBUTE_ID].text;
    struct bytes source = reader->values[ATTRIBUTE_SOURCE].text;

    if (envelope->dead_reason != NULL)
        return;
    if (id.size == 0)
        envelope->dead_reason =
            "no usable id: it must be there once, 1 to 255 bytes of printable UTF-8";
    else if (source.size == 0)
        envelope->dead_reason =
            "no usable source: it must be there once, 1 to 255 bytes of printable UTF-8";
    envelope->id_known = envelope->dead_reason == NULL;
    envelope->id = id;
    envelope->source = source;
}

static bool printable_ascii(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < 0x21 || text.data[i] > 0x7e)
            return false;
    }
    return text.size > 0;
}

static void judge_type(struct reader *reader)
{
    struct envelope *envelope = reader->envelope;
    struct bytes type = reader->values[ATTRIBUTE_TYPE].text;

    envelope->type = bytes_str(COMMAND_TYPE_UNKNOWN);
    if (type.data == NULL)
        return;
    for (const struct schema_entry *entry = schema_commands; entry->type != NULL;
         entry++) {
        if (bytes_equal_str(type, entry->type) || bytes_equal_str(type, entry->name)) {
            envelope->command = entry;
            envelope->type = bytes_str(entry->type);
            return;
        }
    }
    if (printable_ascii(type))
        envelope->type = type;
}

static void judge_numbers(struct reader *reader)
{
    struct envelope *envelope = reader->envelope;
    struct attribute_value *expiry = &reader->values[ATTRIBUTE_EXPIRYTIME];
    struct attribute_value *version = &reader->values[ATTRIBUTE_EXPECTEDVERSION];

    if (expiry->text.data != NULL) {
        envelope->has_expiry = rfc3339_parse(expiry->text, &envelope->expiry_ms);
        if (!envelope->has_expiry)
            expiry->fault = "expirytime is not RFC 3339, like 2026-01-31T12:00:00Z";
    }
    if (version->text.data != NULL) {
        uint64_t value = 0;
        size_t i = 0;
        while (i < version->text.size && i < 19 && version->text.data[i] >= '0' &&
               version->text.data[i] <= '9')
            value = value * 10 + (uint64_t)(version->text.data[i++] - '0');
        envelope->has_expected_version = i > 0 && i == version->text.size;
        envelope->expected_version = value;
        if (!envelope->has_expected_version)
            version->fault = "expectedversion is not a decimal of at most 19 digits";
    }
}

static void judge_content_type(struct reader *reader)
{
    struct attribute_value *type = &reader->values[ATTRIBUTE_DATACONTENTTYPE];

    if (type->text.data != NULL && !is_json(media_type(type->text)))
        type->fault = "the data must be application/json";
}

static void judge_attributes(struct reader *reader)
{
    struct envelope *envelope = reader->envelope;
    struct attribute_value *values = reader->values;

    if (!bytes_equal_str(values[ATTRIBUTE_SPECVERSION].text, "1.0") &&
        values[ATTRIBUTE_SPECVERSION].fault == NULL)
        values[ATTRIBUTE_SPECVERSION].fault = "specversion must be 1.0";
    if (values[ATTRIBUTE_TYPE].text.size == 0 && values[ATTRIBUTE_TYPE].fault == NULL)
        values[ATTRIBUTE_TYPE].fault =
            "type is missing: send for example kinlog.AddSource.v1";
    judge_numbers(reader);
    judge_content_type(reader);
    for (int i = 0; i < ATTRIBUTE_COUNT; i++) {
        if (values[i].fault != NULL)
            note_bad(envelope, attributes[i].name, values[i].fault);
    }
    envelope->correlation_id = values[ATTRIBUTE_CORRELATIONID].text;
    envelope->traceparent = values[ATTRIBUTE_TRACEPARENT].text;
    envelope->tracestate = values[ATTRIBUTE_TRACESTATE].text;
    envelope->actor = values[ATTRIBUTE_ACTOR].text;
    envelope->reply_to = values[ATTRIBUTE_REPLYTO].text;
}

/* The two headers that are not the sender's: on the way between agents. */
static void read_kinlog_headers(struct reader *reader)
{
    struct envelope *envelope = reader->envelope;

    for (size_t i = 0; i < reader->record->header_count; i++) {
        const struct header *header = &reader->record->headers[i];
        bool fit = header->value.size <= 64 && printable_ascii(header->value);
        if (bytes_equal_str(header->name, "kinlog_forwarded")) {
            envelope->was_forwarded = true;
            envelope->forwarded = fit ? header->value : BYTES_ABSENT;
        } else if (bytes_equal_str(header->name, "kinlog_epoch")) {
            envelope->epoch = fit ? header->value : BYTES_ABSENT;
        }
    }
}

static size_t rest_size(const struct record *record)
{
    size_t size = record->key.size;

    for (size_t i = 0; i < record->header_count; i++)
        size += record->headers[i].name.size + record->headers[i].value.size;
    return size;
}

int envelope_read(const struct record *record, struct arena *arena,
                  struct envelope *ret_envelope)
{
    struct reader reader = {.record = record, .arena = arena, .envelope = ret_envelope};

    memset(ret_envelope, 0, sizeof *ret_envelope);
    int code = read_mode(&reader);
    if (code != 0)
        return code;
    judge_id(&reader);
    judge_type(&reader);
    judge_attributes(&reader);
    read_kinlog_headers(&reader);
    if (record->value.size > JSON_BYTES_MAX)
        note_bad(ret_envelope, "", "the value is larger than 256 KiB");
    if (rest_size(record) > RECORD_REST_BYTES_MAX)
        note_bad(ret_envelope, "", "key and headers together are larger than 64 KiB");
    return 0;
}

/* ---- the mistakes that senders make ------------------------------------------------ */

static const char mistake_framing[] =
    "the value starts with a schema registry frame (byte 0 and a schema id): use a plain "
    "JSON "
    "serializer, in Connect org.apache.kafka.connect.json.JsonConverter";
static const char mistake_double[] = "double-encoded JSON: the value is a JSON string "
                                     "that holds JSON; send the object itself (Debezium "
                                     "outbox: table.expand.json.payload=true)";
static const char mistake_connect[] =
    "a Connect schema envelope ({\"schema\", \"payload\"}): set "
    "value.converter.schemas.enable=false";

static bool is_connect_envelope(struct bytes data)
{
    struct arena arena = ARENA_INIT;
    struct codec_error fault;
    struct bytes name, raw;
    size_t position = 0, members = 0, telling = 0;

    if (codec_check_json(data, &fault) == CODEC_OK) {
        while (codec_next_member(data, &position, &arena, &name, &raw) == 0) {
            members++;
            if (bytes_equal_str(name, "schema") || bytes_equal_str(name, "payload"))
                telling++;
        }
    }
    arena_release(&arena);
    return members == 2 && telling == 2;
}

const char *envelope_sender_mistake(struct bytes data)
{
    size_t i = 0;

    if (data.size > 5 && data.data[0] == 0)
        return mistake_framing;
    while (i < data.size && (data.data[i] == ' ' || data.data[i] == '\n' ||
                             data.data[i] == '\r' || data.data[i] == '\t'))
        i++;
    if (i + 1 < data.size && data.data[i] == '"' &&
        (data.data[i + 1] == '{' || data.data[i + 1] == '['))
        return mistake_double;
    if (i < data.size && data.data[i] == '{' && is_connect_envelope(data))
        return mistake_connect;
    return NULL;
}
