/* demo_page.h - the demo's lines: a heading per step, and below it what was sent and what
 * came of it.
 *
 *      4  HR makes Ann the primary user of her laptop                             /hr hr-1
 *         command  CreateRelationship   MachineResourceId=16777217 ...
 *         event    RelationshipCreated  1-3 RelationshipResourceID=98 ...
 *         answer   accepted             RelationshipResourceID=98 Version=3
 *
 * At most DEMO_WIDTH_MAX columns; on a terminal not more than it has. Colours are for
 * terminals. Text of messages is shown escaped, whoever sent it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_DEMO_PAGE_H
#define AGENT_CLI_DEMO_PAGE_H

#include <jansson.h>
#include <stdio.h>

#include "events/base/bytes.h"

#define DEMO_WIDTH_MAX 100

enum demo_style {
    DEMO_PLAIN,
    DEMO_BOLD,
    DEMO_DIM,
    DEMO_GOOD,
    DEMO_WARN,
    DEMO_BAD,
    DEMO_SENT
};

struct demo_page {
    FILE *file;
    bool colour;
    bool terminal;
    size_t width;
    size_t column;   /* where the open line is */
    struct buf text; /* of the word being made */
};

void demo_page_init(struct demo_page *page, FILE *file);
void demo_page_release(struct demo_page *page);

/* text in that style; no newline. */
void demo_print(struct demo_page *page, enum demo_style style, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A paragraph, wrapped; indent columns to its left. */
void demo_paragraph(struct demo_page *page, size_t indent, const char *text);

/* number 0: none. right stands at the right margin, from whom and with which id. */
void demo_heading(struct demo_page *page, unsigned number, const char *text,
                  struct bytes source, struct bytes id);

/* One line of a step: begin, words, end. Words that do not fit go to the next line. */
void demo_line_begin(struct demo_page *page, const char *label, enum demo_style style,
                     struct bytes what);
void demo_word(struct demo_page *page, enum demo_style style, struct bytes word);
/* Several words: broken at blanks. */
void demo_words(struct demo_page *page, enum demo_style style, struct bytes text);
/* name=value; strings without quotes. NULL and null: nothing. */
void demo_member(struct demo_page *page, const char *name, const json_t *value);
void demo_line_end(struct demo_page *page);

#endif
