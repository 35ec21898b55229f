/* fuzz_claim.c - any records at all in the events topic, through the strict reader.
 *
 * Beyond "no crash": what the reader takes is dense, chained, and whole commands; a reader that stops
 * anywhere and one that goes on from its mark come to the same as one that reads all.
 *
 * The input is a list of pieces (pieces.h). A mark is a record of one of three writers, made as an agent
 * makes it (enum deed; the argument says which writer, and how); MARK_RAW is followed by key, value, number
 * of headers (its argument), their names and values.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/shard/reader.h"
#include "tests/fuzz/pieces.h"

enum deed {
    MARK_RAW,
    MARK_CLAIM,    /* argument: floor; a text: the agent */
    MARK_EVENT,    /* argument: how many events more its command has; a text: the data */
    MARK_AGAIN,    /* the writer goes back to where it was before its last event */
    MARK_COPY,     /* the writer knows what writer `argument` knows, epoch aside */
    MARK_ANSWERED, /* argument: sequence */
    MARK_WRITER,   /* argument: who does what follows */
    MARK_GAP,      /* argument: offsets left out */
    MARK_RESUME,   /* argument: the second reader goes on behind that many records */
    MARK_DAMAGE, /* argument: which header of the next event is damaged; a text: with what */
    DEEDS
};

#define WRITERS 3
#define RECORDS_MAX 64
#define HEADERS_MAX (EVENT_HEADERS + 4)

static const struct log_identity identity = {"00112233445566778899aabbccddeeff", "hq", 1,
                                             4};

struct writer {
    uint64_t sequence;
    uint8_t chain[SHA256_SIZE];
    uint64_t sequence_before; /* the last event */
    uint8_t chain_before[SHA256_SIZE];
    uint32_t index, count; /* of the command that is being written */
    struct epoch epoch;
};

struct feed {
    struct record records[RECORDS_MAX];
    struct header headers[RECORDS_MAX][HEADERS_MAX];
    size_t count;
    size_t resume; /* after so many records */
    struct writer writers[WRITERS];
    size_t writer;
    int64_t offset;
    struct sha256 *hasher;
    struct arena arena;
    struct cutter cutter;
    size_t damaged_header; /* EVENT_HEADERS = none */
    struct bytes damage;
};

/* What a reader gave, in its order. */
struct reading {
    struct reader *reader;
    struct sha256 *hasher;
    struct buf log; /* each event's stored form */
    uint64_t sequence;
    uint8_t chain[SHA256_SIZE];
    struct command_order order;
    struct epoch epoch; /* of the last claim, as told apart here */
    size_t repeats;
    int code;
};

/* ---- making records ----------------------------------------------------------------- */

static struct record *new_record(struct feed *feed)
{
    struct record *record = &feed->records[feed->count];

    *record = (struct record){
        .partition = 1, .offset = feed->offset++, .headers = feed->headers[feed->count]};
    feed->count++;
    return record;
}

static void add_header(struct feed *feed, struct record *record, struct bytes name,
                       struct bytes value)
{
    size_t index = (size_t)(record - feed->records);

    if (record->header_count < HEADERS_MAX)
        feed->headers[index][record->header_count++] = (struct header){name, value};
}

static void add_epoch(struct feed *feed, struct record *record)
{
    char text[EPOCH_TEXT_SIZE];

    epoch_text(&feed->writers[feed->writer].epoch, text);
    add_header(feed, record, bytes_str(EPOCH_HEADER),
               arena_copy(&feed->arena, bytes_str(text)));
}

static void make_raw(struct feed *feed, uint8_t argument)
{
    struct record *record = new_record(feed);

    record->key = cut_text(&feed->cutter);
    record->value = cut_text(&feed->cutter);
    if ((argument & 16) != 0)
        add_epoch(feed, record);
    for (int i = 0; i < (argument & 15); i++) {
        struct bytes name = cut_text(&feed->cutter);
        add_header(feed, record, name.data != NULL ? name : bytes_str(""),
                   cut_text(&feed->cutter));
    }
}

static void make_claim(struct feed *feed, uint8_t argument)
{
    struct record *record = new_record(feed);
    struct writer *writer = &feed->writers[feed->writer];
    struct claim claim = {.floor = argument, .rules = 1}, again;
    struct buf value = BUF_INIT;

    snprintf(claim.id, sizeof claim.id, "%032zx", feed->writer * 1000 + feed->count);
    snprintf(claim.log, sizeof claim.log, "%s", identity.log);
    snprintf(claim.agent, sizeof claim.agent, "%s", "host");
    expect(claim_write(&claim, "1", &value) == 0);
    record->key = bytes_str(CLAIM_KEY);
    record->value = arena_copy(&feed->arena, buf_bytes(&value));
    buf_release(&value);
    expect(claim_read(record->value, &again, NULL) == 0);
    expect(strcmp(again.id, claim.id) == 0 && again.floor == claim.floor);
    writer->epoch = claim_epoch(&claim, record->offset);
}

static void make_event(struct feed *feed, uint8_t argument)
{
    struct record *record = new_record(feed);
    struct writer *writer = &feed->writers[feed->writer];
    struct bytes data = cut_text(&feed->cutter);
    struct event_record text;

    if (writer->index == writer->count) {
        writer->index = 0;
        writer->count = 1 + (argument & 3);
    }
    writer->index++;
    struct event event = {
        .sequence = writer->sequence + 1,
        .type = event_type_find(bytes_str("kinlog.PositionAdvanced.v1")),
        .has_command = (argument & 4) == 0,
        .command_offset = argument,
        .index = (argument & 4) == 0 ? writer->index : 0,
        .count = (argument & 4) == 0 ? writer->count : 0,
        .content_hash = bytes_str("-"),
        .command_type = bytes_str("-"),
        .data = data.data != NULL ? data : bytes_str("{}"),
    };
    expect(event_seal(&identity, feed->hasher, writer->chain, &event, &feed->arena,
                      &text) == 0);
    if (feed->damaged_header < EVENT_HEADERS)
        text.headers[feed->damaged_header] = feed->damage;
    feed->damaged_header = EVENT_HEADERS;
    for (size_t i = 0; i < EVENT_HEADERS; i++) {
        if (text.headers[i].data != NULL)
            add_header(feed, record, bytes_str(event_header_names[i]), text.headers[i]);
    }
    add_epoch(feed, record);
    record->key = text.key;
    record->value = text.data;
    writer->sequence_before = writer->sequence;
    memcpy(writer->chain_before, writer->chain, SHA256_SIZE);
    writer->sequence++;
    memcpy(writer->chain, event.chain, SHA256_SIZE);
}

static void make_answered(struct feed *feed, uint8_t argument)
{
    struct record *record = new_record(feed);
    struct buf value = BUF_INIT;

    expect(answered_write(argument, &value) == 0);
    record->key = bytes_str(ANSWERED_KEY);
    record->value = arena_copy(&feed->arena, buf_bytes(&value));
    buf_release(&value);
    add_epoch(feed, record);
}

static void do_again(struct writer *writer)
{
    writer->sequence = writer->sequence_before;
    memcpy(writer->chain, writer->chain_before, SHA256_SIZE);
    writer->index = writer->count = 0;
}

static void do_copy(struct feed *feed, uint8_t argument)
{
    struct writer *writer = &feed->writers[feed->writer];
    struct epoch epoch = writer->epoch;

    *writer = feed->writers[argument % WRITERS];
    writer->epoch = epoch;
    writer->index = writer->count = 0;
}

static void do_deed(struct feed *feed, enum deed deed, uint8_t argument)
{
    switch (deed) {
    case MARK_RAW:
        make_raw(feed, argument);
        break;
    case MARK_CLAIM:
        make_claim(feed, argument);
        break;
    case MARK_EVENT:
        make_event(feed, argument);
        break;
    case MARK_AGAIN:
        do_again(&feed->writers[feed->writer]);
        break;
    case MARK_COPY:
        do_copy(feed, argument);
        break;
    case MARK_ANSWERED:
        make_answered(feed, argument);
        break;
    case MARK_WRITER:
        feed->writer = argument % WRITERS;
        break;
    case MARK_GAP:
        feed->offset += argument;
        break;
    case MARK_RESUME:
        feed->resume = argument;
        break;
    case MARK_DAMAGE:
        feed->damaged_header = argument % EVENT_HEADERS;
        feed->damage = cut_text(&feed->cutter);
        break;
    default:
        break;
    }
}

static void make_feed(struct feed *feed, const uint8_t *data, size_t size)
{
    struct piece mark;

    memset(feed, 0, sizeof *feed);
    feed->cutter = cutter_of(data, size);
    feed->damaged_header = EVENT_HEADERS;
    feed->hasher = sha256_new();
    expect(feed->hasher != NULL);
    for (size_t i = 0; i < WRITERS; i++)
        chain_start(feed->hasher, &identity, feed->writers[i].chain);
    while (!cutter_done(&feed->cutter) && feed->count < RECORDS_MAX) {
        if (cut_mark(&feed->cutter, &mark))
            do_deed(feed, (enum deed)(mark.mark % DEEDS), mark.argument);
        else
            (void)cut_text(&feed->cutter);
    }
}

/* ---- reading them ------------------------------------------------------------------- */

static int on_event(void *context, const struct event *event,
                    const struct event_record *record, struct error *err)
{
    struct reading *reading = context;
    uint8_t chain[SHA256_SIZE];

    (void)err;
    expect(event->sequence == reading->sequence + 1);
    chain_next(reading->hasher, reading->chain, event->sequence, record, chain);
    expect(memcmp(chain, event->chain, SHA256_SIZE) == 0);
    expect(command_order_take(&reading->order, event, NULL) == 0);
    reading->sequence++;
    memcpy(reading->chain, chain, SHA256_SIZE);
    expect(event_encode(event, &reading->log) == 0);
    return 0;
}

static int on_repeat(void *context, const struct event *event, struct error *err)
{
    struct reading *reading = context;

    (void)err;
    expect(event->sequence <= reading->sequence);
    reading->repeats++;
    return 0;
}

static void begin_reading(struct reading *reading, const struct mark *mark)
{
    expect(reader_new(&identity, mark, &reading->reader, NULL) == 0);
    reading->hasher = sha256_new();
    expect(reading->hasher != NULL);
    reading->epoch = reader_end(reading->reader)->epoch;
    reading->sequence = reader_end(reading->reader)->sequence;
    memcpy(reading->chain, reader_end(reading->reader)->chain, SHA256_SIZE);
}

static void end_reading(struct reading *reading)
{
    reader_free(reading->reader);
    sha256_free(reading->hasher);
    buf_release(&reading->log);
}

/* Is the record one that may count: a claim of this log, or under the epoch of the last one? */
static bool may_count(struct reading *reading, const struct record *record)
{
    struct claim claim;
    char text[EPOCH_TEXT_SIZE];

    if (bytes_equal_str(record->key, CLAIM_KEY)) {
        if (record->value.data == NULL || claim_read(record->value, &claim, NULL) != 0 ||
            strcmp(claim.log, identity.log) != 0)
            return false;
        reading->epoch = claim_epoch(&claim, record->offset);
        return true;
    }
    epoch_text(&reading->epoch, text);
    return reading->epoch.id[0] != '\0' &&
           bytes_equal_str(record_header(record, EPOCH_HEADER), text);
}

static void read_record(struct reading *reading, const struct record *record,
                        struct error *err)
{
    struct reader_sink sink = {on_event, on_repeat, reading};
    struct mark before = *reader_end(reading->reader);
    size_t repeats = reading->repeats;
    const struct mark *end = reader_end(reading->reader);

    bool counts = may_count(reading, record);
    reading->code = reader_take(reading->reader, record, &sink, err);
    expect(counts || (reading->code == 0 && end->sequence == before.sequence &&
                      reading->repeats == repeats));
    expect(end->sequence >= before.sequence && end->sequence == reading->sequence);
    expect(memcmp(end->chain, reading->chain, SHA256_SIZE) == 0);
    expect(reading->order.index == 0); /* whole commands */
    expect(end->sequence == before.sequence ||
           (end->offset == record->offset && epoch_equal(&end->epoch, &reading->epoch)));
    expect(epoch_equal(reader_epoch(reading->reader), &reading->epoch));
}

/* Records from this offset on, until the reader stops. */
static void read_records(struct reading *reading, const struct feed *feed, int64_t from,
                         size_t count)
{
    struct error err = {0};

    for (size_t i = 0; reading->code == 0 && i < count; i++) {
        if (feed->records[i].offset >= from)
            read_record(reading, &feed->records[i], &err);
    }
    expect(reading->code == 0 || reading->code == ERROR_CORRUPT ||
           reading->code == ERROR_VERSION);
    expect((reading->code == 0) == (err.text[0] == '\0'));
}

static void compare_marks(const struct mark *a, const struct mark *b)
{
    expect(a->sequence == b->sequence && a->offset == b->offset &&
           memcmp(a->chain, b->chain, SHA256_SIZE) == 0 &&
           epoch_equal(&a->epoch, &b->epoch));
}

/* Reads all; then a part, and the rest from its mark: the same comes out. */
static void read_feed(const struct feed *feed)
{
    struct reading all = {0}, part = {0}, rest = {0};
    size_t resume = feed->resume < feed->count ? feed->resume : feed->count;

    begin_reading(&all, NULL);
    read_records(&all, feed, 0, feed->count);
    begin_reading(&part, NULL);
    read_records(&part, feed, 0, resume);
    const struct mark *mark = reader_end(part.reader);
    begin_reading(&rest, mark->sequence > 0 ? mark : NULL);
    if (part.code == 0) {
        read_records(&rest, feed, mark->offset + 1, feed->count);
        expect(rest.code == all.code);
        expect(buf_append_bytes(&part.log, buf_bytes(&rest.log)) == 0);
        expect(bytes_equal(buf_bytes(&part.log), buf_bytes(&all.log)));
        compare_marks(reader_end(rest.reader), reader_end(all.reader));
        expect(epoch_equal(reader_epoch(rest.reader), reader_epoch(all.reader)));
        expect(reader_highest_epoch(rest.reader) <= reader_highest_epoch(all.reader));
    }
    end_reading(&all);
    end_reading(&part);
    end_reading(&rest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct feed feed;

    make_feed(&feed, data, size);
    read_feed(&feed);
    sha256_free(feed.hasher);
    arena_release(&feed.arena);
    cutter_release(&feed.cutter);
    return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char *const more[] = {
        CLAIM_KEY,
        ANSWERED_KEY,
        EPOCH_HEADER,
        "kinlog:",
        "kinlog:digest",
        "0;00000000000000000000000000000000",
        "{\"Id\":\"00000000000000000000000000000001\",\"Floor\":1,\"Agent\":\"a\",",
        "\"Version\":\"1\",\"Rules\":1,\"Log\":\"00112233445566778899aabbccddeeff\"}",
        "{\"Sequence\":1}",
        "Id",
        "Floor",
        "Agent",
        "Version",
        "Rules",
        "Log",
        "9223372036854775807",
        "4294967296",
    };

    (void)argc;
    (void)argv;
    for (size_t i = 0; i < EVENT_HEADERS; i++)
        word_add(event_header_names[i]);
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
        word_add(more[i]);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    return mutate_pieces(data, size, size_max, seed);
}
