/* demo_page.c - see demo_page.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/demo_page.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/cli/cli.h"
#include "agent/cli/table.h"

#define WIDTH_MIN 60
#define LABEL_COLUMN 4
#define LABEL_WIDTH 9 /* "command  " */
#define WHAT_WIDTH 21 /* the longest, RelationshipCreated, and two blanks */
#define WORDS_COLUMN (LABEL_COLUMN + LABEL_WIDTH + WHAT_WIDTH)

static const char *const colours[] = {
    [DEMO_PLAIN] = "",        [DEMO_BOLD] = "\033[1m",  [DEMO_DIM] = "\033[2m",
    [DEMO_GOOD] = "\033[32m", [DEMO_WARN] = "\033[33m", [DEMO_BAD] = "\033[1;31m",
    [DEMO_SENT] = "\033[36m",
};

void demo_page_init(struct demo_page *page, FILE *file)
{
    size_t columns = cli_columns(file);

    *page = (struct demo_page){.file = file,
                               .colour = cli_colour(file),
                               .terminal = isatty(fileno(file)) != 0,
                               .width = DEMO_WIDTH_MAX,
                               .text = BUF_INIT};
    if (columns > 0 && columns < page->width)
        page->width = columns;
    if (page->width < WIDTH_MIN)
        page->width = WIDTH_MIN;
}

void demo_page_release(struct demo_page *page)
{
    buf_release(&page->text);
}

static void put(struct demo_page *page, enum demo_style style, struct bytes text)
{
    bool coloured = page->colour && style != DEMO_PLAIN && text.size > 0;

    if (coloured)
        (void)fputs(colours[style], page->file);
    (void)fwrite(text.data, 1, text.size, page->file);
    if (coloured)
        (void)fputs("\033[0m", page->file);
}

void demo_print(struct demo_page *page, enum demo_style style, const char *format, ...)
{
    char text[2048];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    put(page, style, bytes_str(text));
}

static void newline(struct demo_page *page, size_t indent)
{
    (void)fprintf(page->file, "\n%*s", (int)indent, "");
    page->column = indent;
}

/* A word of that width, after a blank unless the line is at its beginning. */
static void place(struct demo_page *page, size_t indent, enum demo_style style,
                  struct bytes word, size_t width)
{
    if (page->column > indent && page->column + 1 + width > page->width)
        newline(page, indent);
    else if (page->column > indent) {
        (void)fputc(' ', page->file);
        page->column++;
    }
    put(page, style, word);
    page->column += width;
}

void demo_paragraph(struct demo_page *page, size_t indent, const char *text)
{
    (void)fprintf(page->file, "%*s", (int)indent, "");
    page->column = indent;
    while (*text != '\0') {
        size_t size = strcspn(text, " ");

        place(page, indent, DEMO_PLAIN, bytes_of(text, size), size);
        text += size + strspn(text + size, " ");
    }
    (void)fputc('\n', page->file);
}

void demo_heading(struct demo_page *page, unsigned number, const char *text,
                  struct bytes source, struct bytes id)
{
    size_t used = LABEL_COLUMN + strlen(text), width = 0;

    buf_clear(&page->text);
    if (source.data != NULL)
        width += table_escape(&page->text, source) + 1;
    (void)buf_append_str(&page->text, source.data != NULL ? " " : "");
    if (id.data != NULL)
        width += table_escape(&page->text, id);
    if (number > 0)
        (void)fprintf(page->file, "\n%2u  ", number);
    else
        (void)fprintf(page->file, "\n%*s", LABEL_COLUMN, "");
    demo_print(page, DEMO_BOLD, "%s", text);
    if (width > 0 && used + 2 + width <= page->width)
        (void)fprintf(page->file, "%*s", (int)(page->width - used - width), "");
    else if (width > 0)
        newline(page, LABEL_COLUMN);
    put(page, DEMO_DIM, buf_bytes(&page->text));
    (void)fputc('\n', page->file);
}

/* ---- the lines of a step ----------------------------------------------------------- */

void demo_line_begin(struct demo_page *page, const char *label, enum demo_style style,
                     struct bytes what)
{
    size_t width;

    buf_clear(&page->text);
    width = table_escape(&page->text, what);
    (void)fprintf(page->file, "%*s", LABEL_COLUMN, "");
    demo_print(page, DEMO_DIM, "%-*s", LABEL_WIDTH, label);
    put(page, style, buf_bytes(&page->text));
    page->column = LABEL_COLUMN + LABEL_WIDTH + width;
    if (page->column >= WORDS_COLUMN)
        newline(page, WORDS_COLUMN);
}

/* The first word of a line goes to its column, however short what stands before it. */
static void align(struct demo_page *page)
{
    if (page->column >= WORDS_COLUMN)
        return;
    (void)fprintf(page->file, "%*s", (int)(WORDS_COLUMN - page->column), "");
    page->column = WORDS_COLUMN;
}

void demo_word(struct demo_page *page, enum demo_style style, struct bytes word)
{
    size_t width;

    align(page);
    buf_clear(&page->text);
    width = table_escape(&page->text, word);
    place(page, WORDS_COLUMN, style, buf_bytes(&page->text), width);
}

void demo_words(struct demo_page *page, enum demo_style style, struct bytes text)
{
    while (text.size > 0) {
        const uint8_t *blank = memchr(text.data, ' ', text.size);
        size_t size = blank != NULL ? (size_t)(blank - text.data) : text.size;

        if (size > 0)
            demo_word(page, style, bytes_of(text.data, size));
        size += blank != NULL;
        text = bytes_of(text.data + size, text.size - size);
    }
}

void demo_member(struct demo_page *page, const char *name, const json_t *value)
{
    struct buf word = BUF_INIT;
    char *text = NULL;

    if (value == NULL || json_is_null(value))
        return;
    (void)buf_printf(&word, "%s=", name);
    if (json_is_string(value))
        (void)buf_append(&word, json_string_value(value), json_string_length(value));
    else
        (void)buf_append_str(&word,
                             text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT));
    demo_word(page, DEMO_PLAIN, buf_bytes(&word));
    free(text);
    buf_release(&word);
}

void demo_line_end(struct demo_page *page)
{
    (void)fputc('\n', page->file);
}
