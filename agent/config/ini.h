/* ini.h - reads an INI file: [section], key = value, comments, line numbers.
 *
 *     ; a comment, as is a line that begins with #
 *     [agent]
 *     site = hq        ; a comment: blank and ';'
 *
 * Lines end with LF or CRLF; blanks around names and values do not count. A value reaches
 * to the end of its line or to blank and ';'; '#' inside a line is part of the value. A
 * section may come twice, a key only once in it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CONFIG_INI_H
#define AGENT_CONFIG_INI_H

#include "events/base/bytes.h"
#include "events/base/error.h"

#define INI_BYTES_MAX (1024 * 1024)

struct ini_entry {
    const char *section;
    const char *key;
    const char *value; /* may be "" */
    unsigned line;
};

struct ini {
    struct arena arena;        /* holds all of it */
    struct ini_entry *entries; /* in the file's order */
    size_t count;
    size_t capacity;
    struct ini_section {
        const char *name;
        unsigned line; /* where it came first */
    } * sections;
    size_t section_count;
    size_t section_capacity;
};

/* name stands in errors (ERROR_CONFIG: file, line, reason). Release in any case. */
int ini_parse(const char *name, struct bytes text, struct ini *ret_ini,
              struct error *err);
int ini_read(const char *path, struct ini *ret_ini, struct error *err);
void ini_release(struct ini *ini);

#endif
