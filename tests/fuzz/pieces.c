/* pieces.c - see pieces.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/pieces.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK_FIRST 240
#define ABSENT_FIRST 252
#define LONG_TEXT 255

void expect_that(bool condition, const char *text, const char *file, int line)
{
    if (condition)
        return;
    (void)fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, text);
    abort();
}

/* ---- the format --------------------------------------------------------------------- */

static uint8_t take_byte(struct bytes *input)
{
    if (input->size == 0)
        return 0;
    uint8_t byte = input->data[0];
    *input = bytes_of(input->data + 1, input->size - 1);
    return byte;
}

bool piece_next(struct bytes *input, struct piece *ret_piece)
{
    if (input->size == 0)
        return false;
    *ret_piece = (struct piece){.text = BYTES_ABSENT};
    size_t size = take_byte(input);
    if (size >= MARK_FIRST && size < ABSENT_FIRST) {
        ret_piece->is_mark = true;
        ret_piece->mark = (uint8_t)(size - MARK_FIRST);
        ret_piece->argument = take_byte(input);
        return true;
    }
    if (size >= ABSENT_FIRST && size < LONG_TEXT)
        return true;
    if (size == LONG_TEXT) {
        size = (size_t)take_byte(input) << 8;
        size |= take_byte(input);
    }
    if (size > input->size)
        size = input->size;
    ret_piece->text = bytes_of(input->data, size);
    *input = bytes_of(input->data + size, input->size - size);
    return true;
}

size_t piece_write(const struct piece *piece, uint8_t *out, size_t room)
{
    size_t size = piece->text.size, head = size < MARK_FIRST ? 1 : 3;

    if (piece->is_mark || piece->text.data == NULL) {
        size_t need = piece->is_mark ? 2 : 1;
        if (room < need)
            return 0;
        out[0] = piece->is_mark ? (uint8_t)(MARK_FIRST + piece->mark) : LONG_TEXT - 1;
        if (piece->is_mark)
            out[1] = piece->argument;
        return need;
    }
    if (size > UINT16_MAX || room < head + size)
        return 0;
    out[0] = head == 1 ? (uint8_t)size : LONG_TEXT;
    if (head == 3) {
        out[1] = (uint8_t)(size >> 8);
        out[2] = (uint8_t)(size & 0xff);
    }
    memcpy(out + head, piece->text.data, size);
    return head + size;
}

/* ---- cutting ------------------------------------------------------------------------ */

struct cutter cutter_of(const uint8_t *data, size_t size)
{
    return (struct cutter){.rest = bytes_of(data, size)};
}

void cutter_release(struct cutter *cutter)
{
    for (size_t i = 0; i < cutter->count; i++)
        free(cutter->owned[i]);
}

bool cutter_done(const struct cutter *cutter)
{
    return cutter->rest.size == 0 || cutter->count >= PIECES_MAX;
}

bool cut_mark(struct cutter *cutter, struct piece *ret_mark)
{
    struct bytes rest = cutter->rest;

    if (cutter_done(cutter) || !piece_next(&rest, ret_mark) || !ret_mark->is_mark)
        return false;
    cutter->rest = rest;
    return true;
}

void *cutter_own(struct cutter *cutter, struct bytes text, size_t size)
{
    char *copy = malloc(size);

    expect(copy != NULL &&
           cutter->count < sizeof cutter->owned / sizeof cutter->owned[0]);
    if (text.size > 0)
        memcpy(copy, text.data, text.size);
    cutter->owned[cutter->count++] = copy;
    return copy;
}

static bool cut_borrowed(struct cutter *cutter, struct bytes *ret_text)
{
    struct bytes rest = cutter->rest;
    struct piece piece;

    if (cutter_done(cutter) || !piece_next(&rest, &piece) || piece.is_mark)
        return false;
    cutter->rest = rest;
    *ret_text = piece.text;
    return true;
}

struct bytes cut_text(struct cutter *cutter)
{
    struct bytes text;

    if (!cut_borrowed(cutter, &text) || text.data == NULL)
        return BYTES_ABSENT;
    return bytes_of(cutter_own(cutter, text, text.size), text.size);
}

char *cut_string(struct cutter *cutter)
{
    static char none[1];
    struct bytes text;

    if (!cut_borrowed(cutter, &text) || text.data == NULL)
        return none;
    const void *end = memchr(text.data, 0, text.size);
    if (end != NULL)
        text.size = (size_t)((const uint8_t *)end - text.data);
    char *string = cutter_own(cutter, text, text.size + 1);
    string[text.size] = '\0';
    return string;
}
