/* ini.c - see ini.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/config/ini.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct parser {
    const char *name;
    unsigned line;
    const char *section; /* NULL before the first one */
    struct ini *ini;
    struct error *err;
};

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

static struct bytes trim(struct bytes text)
{
    while (text.size > 0 && is_blank(text.data[0])) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && is_blank(text.data[text.size - 1]))
        text.size--;
    return text;
}

static struct bytes without_comment(struct bytes text)
{
    for (size_t i = 1; i < text.size; i++) {
        if (text.data[i] == ';' && is_blank(text.data[i - 1])) {
            text.size = i;
            break;
        }
    }
    return text;
}

static int fault(const struct parser *parser, const char *reason)
{
    return error_set(parser->err, ERROR_CONFIG, "%s:%u: %s", parser->name, parser->line,
                     reason);
}

static const char *copy(struct parser *parser, struct bytes text)
{
    char *string = arena_alloc(&parser->ini->arena, text.size + 1);

    if (string != NULL && text.size > 0)
        memcpy(string, text.data, text.size);
    return string;
}

/* Makes room for one more element of an array in the arena (what it leaves behind is
 * freed with it). */
static void *grown(struct ini *ini, void *array, size_t count, size_t *capacity,
                   size_t size)
{
    if (count < *capacity)
        return array;
    size_t wanted = *capacity == 0 ? 16 : *capacity * 2;
    void *bigger = arena_alloc(&ini->arena, wanted * size);

    if (bigger == NULL)
        return NULL;
    if (count > 0)
        memcpy(bigger, array, count * size);
    *capacity = wanted;
    return bigger;
}

static int begin_section(struct parser *parser, struct bytes line)
{
    struct ini *ini = parser->ini;

    line = trim(without_comment(line));
    if (line.data[line.size - 1] != ']')
        return fault(parser, "a section is written [name]: the ']' is missing");
    struct bytes name = trim(bytes_of(line.data + 1, line.size - 2));
    if (name.size == 0)
        return fault(parser, "the section has no name");
    for (size_t i = 0; i < ini->section_count; i++) {
        if (bytes_equal_str(name, ini->sections[i].name)) {
            parser->section = ini->sections[i].name;
            return 0;
        }
    }
    void *array = grown(ini, ini->sections, ini->section_count, &ini->section_capacity,
                        sizeof(*ini->sections));
    parser->section = copy(parser, name);
    if (array == NULL || parser->section == NULL)
        return error_set(parser->err, ERROR_NO_MEMORY, "out of memory");
    ini->sections = array;
    ini->sections[ini->section_count].name = parser->section;
    ini->sections[ini->section_count++].line = parser->line;
    return 0;
}

static int add_entry(struct parser *parser, struct bytes line)
{
    struct ini *ini = parser->ini;
    const uint8_t *equals = memchr(line.data, '=', line.size);

    if (equals == NULL)
        return fault(parser, "expected `key = value`, a [section] or a comment");
    struct bytes key = trim(bytes_of(line.data, (size_t)(equals - line.data)));
    if (key.size == 0)
        return fault(parser, "there is no key before the '='");
    if (parser->section == NULL)
        return fault(parser, "a key before the first [section]");
    /* The '=' stays in front, so that "key = ; comment" is an empty value. */
    struct bytes value =
        without_comment(bytes_of(equals, line.size - (size_t)(equals - line.data)));
    value = trim(bytes_of(value.data + 1, value.size - 1));
    for (size_t i = 0; i < ini->count; i++) {
        const struct ini_entry *entry = &ini->entries[i];

        if (strcmp(entry->section, parser->section) == 0 &&
            bytes_equal_str(key, entry->key))
            return error_set(
                parser->err, ERROR_CONFIG,
                "%s:%u: [%s] %s stands already in line %u; remove one of them",
                parser->name, parser->line, entry->section, entry->key, entry->line);
    }
    void *array =
        grown(ini, ini->entries, ini->count, &ini->capacity, sizeof(*ini->entries));
    struct ini_entry entry = {parser->section, copy(parser, key), copy(parser, value),
                              parser->line};
    if (array == NULL || entry.key == NULL || entry.value == NULL)
        return error_set(parser->err, ERROR_NO_MEMORY, "out of memory");
    ini->entries = array;
    ini->entries[ini->count++] = entry;
    return 0;
}

static int parse_line(struct parser *parser, struct bytes line)
{
    if (line.size > 0 && line.data[line.size - 1] == '\r')
        line.size--;
    for (size_t i = 0; i < line.size; i++) {
        if ((line.data[i] < 0x20 && line.data[i] != '\t') || line.data[i] == 0x7f)
            return fault(parser, "a control character; is this a text file?");
    }
    line = trim(line);
    if (line.size == 0 || line.data[0] == ';' || line.data[0] == '#')
        return 0;
    return line.data[0] == '[' ? begin_section(parser, line) : add_entry(parser, line);
}

int ini_parse(const char *name, struct bytes text, struct ini *ret_ini, struct error *err)
{
    struct parser parser = {.name = name, .ini = ret_ini, .err = err};
    static const uint8_t mark[] = {0xef, 0xbb,
                                   0xbf}; /* which some editors put before UTF-8 */

    *ret_ini = (struct ini){.arena = ARENA_INIT};
    if (bytes_has_prefix(text, bytes_of(mark, sizeof(mark)))) {
        text.data += sizeof(mark);
        text.size -= sizeof(mark);
    }
    while (text.size > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.size);
        size_t size = end == NULL ? text.size : (size_t)(end - text.data);

        parser.line++;
        int r = parse_line(&parser, bytes_of(text.data, size));
        if (r < 0)
            return r;
        size += end != NULL;
        text.data += size;
        text.size -= size;
    }
    return 0;
}

int ini_read(const char *path, struct ini *ret_ini, struct error *err)
{
    struct buf text = BUF_INIT;
    int r = 0;
    FILE *file = fopen(path, "rb");

    *ret_ini = (struct ini){.arena = ARENA_INIT};
    if (file == NULL)
        return error_set(err, ERROR_CONFIG, "cannot read the configuration %s: %s", path,
                         strerror(errno));
    for (;;) {
        uint8_t piece[4096];
        size_t size = fread(piece, 1, sizeof(piece), file);

        if (size == 0)
            break;
        if (buf_append(&text, piece, size) < 0) {
            r = error_set(err, ERROR_NO_MEMORY, "out of memory");
        } else if (text.size > INI_BYTES_MAX) {
            r = error_set(err, ERROR_CONFIG,
                          "%s is larger than %d KiB; is this the right file?", path,
                          INI_BYTES_MAX / 1024);
        }
        if (r < 0)
            break;
    }
    if (r == 0 && ferror(file))
        r = error_set(err, ERROR_CONFIG, "cannot read the configuration %s: %s", path,
                      strerror(errno));
    (void)fclose(file);
    if (r == 0)
        r = ini_parse(path, buf_bytes(&text), ret_ini, err);
    buf_release(&text);
    return r;
}

void ini_release(struct ini *ini)
{
    arena_release(&ini->arena);
    *ini = (struct ini){.arena = ARENA_INIT};
}
