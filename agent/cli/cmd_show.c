/* cmd_show.c - kinlog show: the receipt of a command, searched in all shards.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "agent/cli/answer_text.h"
#include "agent/cli/cli.h"
#include "agent/cli/event_text.h"
#include "agent/cli/reading.h"
#include "agent/shard/answer.h"
#include "events/event_log.h"

struct search {
    const struct cli *cli;
    struct bytes source, id;
    struct json_out json; /* of --json */
    unsigned found;
};

static int print_events(const struct shard_reader *reader, const struct receipt *receipt,
                        struct json_out *json, struct error *err)
{
    struct table *table = json == NULL ? event_table_new(stdout) : NULL;
    struct event_scan *scan = NULL;
    struct event event;
    int r = event_scan_open(reader->kv, /* batch= */ NULL, receipt->first_sequence,
                            receipt->first_sequence + receipt->count - 1, &scan, err);

    while (r == 0 && (r = event_scan_next(scan, &event, err)) == 0) {
        if (json != NULL)
            r = event_print_json(json, &reader->identity, &event, err);
        else
            event_print_row(table, reader->number, &event);
    }
    event_scan_close(scan);
    table_free(table);
    return r < 0 ? r : 0;
}

static int print_json(struct search *search, const struct shard_reader *reader,
                      const struct receipt *receipt, const struct answer *answer,
                      struct error *err)
{
    struct json_out line, *json = &search->json;

    if (search->cli->form == OUTPUT_NDJSON) {
        json_out_begin(&line, stdout, /* pretty= */ false);
        json = &line;
    }
    json_out_object(json, NULL);
    json_out_unsigned(json, "Shard", reader->number);
    json_out_unsigned(json, "FirstSequence", receipt->first_sequence);
    json_out_unsigned(json, "EventCount", receipt->count);
    json_out_text(json, "AnswerId", answer->headers[ANSWER_ID]);
    json_out_raw(json, "Answer", answer->value);
    json_out_array(json, "Events");
    int r = print_events(reader, receipt, json, err);
    if (r < 0)
        return r;
    json_out_close(json);
    json_out_close(json);
    if (search->cli->form == OUTPUT_NDJSON)
        json_out_end(&line);
    return 0;
}

static int print_receipt(struct search *search, const struct shard_reader *reader,
                         const struct receipt *receipt, struct error *err)
{
    struct answer_maker *maker = answer_maker_new(&reader->identity, reader->site_key);
    struct answer answer;
    int r;

    if (maker == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    r = answer_from_log(maker, reader->kv, /* batch= */ NULL, receipt->first_sequence,
                        receipt->count, &answer, err);
    if (r == 0 && search->cli->form != OUTPUT_TABLE) {
        r = print_json(search, reader, receipt, &answer, err);
    } else if (r == 0) {
        if (search->found > 0)
            (void)fputc('\n', stdout);
        answer_print(stdout, answer.value);
        (void)fputc('\n', stdout);
        r = print_events(reader, receipt, /* json= */ NULL, err);
    }
    answer_maker_free(maker);
    return r;
}

static int search_shard(struct search *search, const struct store_folder *folder,
                        uint32_t shard, struct error *err)
{
    struct shard_reader reader = {0};
    struct receipt receipt = {.match = RECEIPT_NONE};
    int r = shard_reader_open(folder, shard, KV_READ_ONLY, &reader, err);

    if (r == 0)
        r = receipt_find(reader.views, search->source, search->id,
                         /* content_hash= */ BYTES_ABSENT, &receipt, err);
    if (r >= 0 && receipt.match == RECEIPT_PENDING)
        r = error_set(err, ERROR_NOT_FOUND,
                      "the command waits for the answer of another shard; it asked with "
                      "event %llu of shard %u",
                      (unsigned long long)receipt.first_sequence, shard);
    else if (r >= 0 && receipt.match != RECEIPT_NONE) {
        r = print_receipt(search, &reader, &receipt, err);
        search->found++;
    }
    shard_reader_close(&reader);
    return r < 0 ? r : 0;
}

static int search_all(struct search *search, const struct store_folder *folder,
                      struct error *err)
{
    int r = 0;

    if (search->cli->form == OUTPUT_JSON) {
        json_out_begin(&search->json, stdout, /* pretty= */ true);
        json_out_object(&search->json, NULL);
        json_out_array(&search->json, "Receipts");
    }
    for (uint32_t shard = 0; r == 0 && shard < folder->identity.shards; shard++)
        r = search_shard(search, folder, shard, err);
    if (r == 0 && search->cli->form == OUTPUT_JSON) {
        json_out_close(&search->json);
        json_out_close(&search->json);
        json_out_end(&search->json);
    }
    if (r == 0 && search->found == 0)
        return error_set(err, ERROR_NOT_FOUND,
                         "no shard here has seen a command with this source and id");
    return r;
}

int cmd_show(struct cli *cli, int argc, char **argv)
{
    struct store_folder *folder = NULL;
    struct error err = {0};
    int r;

    if (argc != 2)
        return cli_wrong(cli, "two words are wanted: the command's source and its id");
    struct search search = {
        .cli = cli, .source = bytes_str(argv[0]), .id = bytes_str(argv[1])};
    r = reading_folder(cli, &folder, &err);
    if (r == 0)
        r = search_all(&search, folder, &err);
    store_folder_close(folder);
    return r < 0 ? cli_fail(cli, &err) : EXIT_DONE;
}
