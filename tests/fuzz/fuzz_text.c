/* fuzz_text.c - any text where a time, a user name, a number, or a word of the command line is wanted.
 *
 * Beyond "no crash": what is read comes out the same when it is written and read again; folding a name
 * twice is folding it once; what `send` makes of words is JSON.
 *
 * The input is a list of pieces (pieces.h): the first text is tried as everything; all of them are a
 * command line.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "agent/cli/answer_text.h"
#include "agent/cli/args.h"
#include "agent/cli/cli.h"
#include "agent/cli/complete.h"
#include "agent/cli/send_value.h"
#include "agent/cli/user_filter.h"
#include "events/base/datetime.h"
#include "events/base/hash.h"
#include "events/base/user_name.h"
#include "tests/fuzz/pieces.h"

#define WORDS_MAX 40

static void try_times(struct bytes text)
{
    char out[CIM_DATETIME_SIZE];
    int64_t time_ms, again;

    if (rfc3339_parse(text, &time_ms)) {
        expect(time_ms >= TIME_MS_MIN && time_ms <= TIME_MS_MAX);
        rfc3339_format(time_ms, out);
        expect(rfc3339_parse(bytes_str(out), &again) && again == time_ms);
    }
    if (cim_datetime_parse(text, &time_ms)) {
        expect(time_ms >= TIME_MS_MIN && time_ms <= TIME_MS_MAX);
        cim_datetime_format(time_ms, out);
        expect(cim_datetime_parse(bytes_str(out), &again) && again == time_ms);
    }
}

static void try_user_name(struct bytes text)
{
    struct buf folded = BUF_INIT, again = BUF_INIT;
    const char *fault = text.data != NULL ? user_name_fault(text) : "absent";

    if (fault == NULL) {
        expect(user_name_fold(text, &folded) == 0);
        expect(memchr(folded.data, '\\', folded.size) != NULL);
        if (folded.size <= USER_NAME_BYTES_MAX) {
            expect(user_name_fold(buf_bytes(&folded), &again) == 0);
            expect(bytes_equal(buf_bytes(&folded), buf_bytes(&again)));
        }
    }
    buf_release(&folded);
    buf_release(&again);
}

static void try_filter(const char *text)
{
    struct user_filter filter = {.set = false};
    struct error err = {0};

    if (user_filter_init(&filter, text, &err) == 0 && strchr(text, '\\') != NULL)
        expect(user_filter_fits(&filter, bytes_str(text)));
    user_filter_release(&filter);
}

static void try_hashes(struct bytes text)
{
    struct buf out = BUF_INIT;
    uint8_t raw[32];

    for (size_t size = 1; size <= sizeof raw; size++) {
        if (base64url_decode(text, raw, size)) {
            buf_clear(&out);
            expect(base64url_append(&out, raw, size) == 0);
            expect(bytes_equal(buf_bytes(&out), text));
        }
        if (hex_decode(text, raw, size)) {
            buf_clear(&out);
            expect(hex_append(&out, raw, size) == 0 && out.size == text.size);
        }
    }
    buf_release(&out);
}

static void try_numbers(const char *text)
{
    struct error err = {0};
    uint64_t value;
    int64_t ms;

    if (args_number("n", text, 1, 240, &value, &err) == 0)
        expect(value >= 1 && value <= 240);
    error_clear(&err);
    (void)args_number("n", text, 0, UINT64_MAX, &value, &err);
    error_clear(&err);
    if (args_duration("d", text, &ms, &err) == 0)
        expect(ms >= 0);
    error_clear(&err);
    (void)args_time("t", text, /* now_ms= */ 1780000000000, &ms, &err);
}

static void try_send(char *const *words, int count)
{
    struct buf json = BUF_INIT;
    struct error err = {0};

    for (const struct schema_entry *entry = schema_commands; entry->type != NULL;
         entry++) {
        buf_clear(&json);
        error_clear(&err);
        int code = send_data_append(&json, entry, count, words, NULL, &err);
        expect(code == 0 || code == ERROR_USAGE);
        expect((code == 0) == (err.text[0] == '\0'));
    }
    buf_release(&json);
}

/* For what is printed. */
static FILE *nowhere(void)
{
    static FILE *out;

    if (out == NULL)
        out = fopen("/dev/null", "w");
    expect(out != NULL);
    return out;
}

static void try_command_line(char **words, int count)
{
    struct cli cli;
    struct cli_arguments arguments;
    struct error err = {0};

    complete_print(nowhere(), count, words);
    int code = cli_parse(&cli, count, words, &arguments, &err);

    expect(code == 0 || code == ERROR_USAGE);
    expect((code == 0) == (err.text[0] == '\0'));
    expect(memchr(err.text, 0, sizeof err.text) != NULL);
}

static void try_answer(struct bytes text)
{
    struct answer_summary summary;
    struct error err = {0};

    if (text.data == NULL)
        return;
    if (answer_read(text, &summary, &err) == 0)
        answer_print(nowhere(), text);
    else
        expect(err.text[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cutter cutter = cutter_of(data, size);
    char *words[WORDS_MAX + 2] = {(char *)"kinlog"};
    int count = 1;
    struct bytes text = cut_text(&cutter);

    try_times(text);
    try_user_name(text);
    try_hashes(text);
    try_answer(text);
    while (!cutter_done(&cutter) && count <= WORDS_MAX) {
        struct piece mark;
        if (!cut_mark(&cutter, &mark))
            words[count++] = cut_string(&cutter);
    }
    if (count > 1) {
        try_numbers(words[1]);
        try_filter(words[1]);
    }
    try_send(words + 1, count - 1);
    try_command_line(words, count);
    cutter_release(&cutter);
    return 0;
}

static void add_options(const struct cli_option *options)
{
    for (; options != NULL && options->name != NULL; options++) {
        struct buf word = BUF_INIT;
        buf_printf(&word, "--%s", options->name);
        word_add(buf_cstr(&word));
        buf_release(&word);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char *const more[] = {
        "2026-01-31T23:59:60.999+05:30",
        "20260131235959.999000+000",
        "-15m",
        "500ms",
        "a\\b",
        "\xc3\x85\\\xcf\x82\xe1\xba\x9e",
        "-X",
        "agent.site=x",
        "--",
        "SourceId=2,4",
        "{\"Command\":\"kinlog.AddSource.v1\",\"Outcome\":\"accepted\",",
        "\"ReturnValue\":0,",
    };

    (void)argc;
    (void)argv;
    words_add_schemas();
    add_options(cli_common_options);
    for (const struct cli_command *at = cli_commands; at->name != NULL; at++) {
        word_add(at->name);
        add_options(at->options);
    }
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
        word_add(more[i]);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    return mutate_pieces(data, size, size_max, seed);
}
