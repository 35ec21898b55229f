/* demo_next.c - see demo_next.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "agent/cli/demo_next.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/cli/demo_story.h"

#define INDENT "      "

/* ---- the program's name ------------------------------------------------------------ */

static bool is_on_path(const char *folder, size_t size)
{
    const char *path = getenv("PATH");

    while (path != NULL && *path != '\0') {
        size_t length = strcspn(path, ":");

        if (length == size && memcmp(path, folder, size) == 0)
            return true;
        path += length + (path[length] == ':');
    }
    return false;
}

void demo_next_program(char ret_program[PATH_MAX])
{
    char program[PATH_MAX], here[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", program, sizeof(program) - 1);

    program[size > 0 ? size : 0] = '\0';
    const char *name = strrchr(program, '/');
    size_t below = getcwd(here, sizeof(here)) != NULL ? strlen(here) : PATH_MAX;

    if (name == NULL)
        (void)snprintf(ret_program, PATH_MAX, "kinlog");
    else if (is_on_path(program, (size_t)(name - program)))
        (void)snprintf(ret_program, PATH_MAX, "%s", name + 1);
    else if (name == program + below && memcmp(program, here, below) == 0)
        (void)snprintf(ret_program, PATH_MAX, ".%s", name);
    else if (name > program + below && program[below] == '/' &&
             memcmp(program, here, below) == 0)
        (void)snprintf(ret_program, PATH_MAX, "%s", program + below + 1);
    else
        (void)snprintf(ret_program, PATH_MAX, "%s", program);
}

/* ---- the commands ------------------------------------------------------------------ */

/* A word of a shell's command, quoted where it must be. */
static void append_word(struct buf *out, const char *word)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,%@";

    if (*word != '\0' && word[strspn(word, plain)] == '\0') {
        (void)buf_append_str(out, word);
        return;
    }
    (void)buf_append_byte(out, '\'');
    for (; *word != '\0'; word++) {
        if (*word == '\'')
            (void)buf_append_str(out, "'\\''");
        else
            (void)buf_append_byte(out, (uint8_t)*word);
    }
    (void)buf_append_byte(out, '\'');
}

struct suggestion {
    struct demo_page *page;
    const char *program, *config;
};

/* PROGRAM what --config CONFIG; continued, if that is too long, before --config. */
static void suggest(const struct suggestion *suggestion, const char *why,
                    const char *what)
{
    struct demo_page *page = suggestion->page;
    struct buf command = BUF_INIT, config = BUF_INIT;

    append_word(&command, suggestion->program);
    (void)buf_printf(&command, " %s", what);
    (void)buf_append_str(&config, "--config ");
    append_word(&config, suggestion->config);
    demo_print(page, DEMO_DIM, "    %s\n", why);
    demo_print(page, DEMO_PLAIN, INDENT "%s", buf_cstr(&command));
    if (strlen(INDENT) + command.size + 1 + config.size > page->width)
        demo_print(page, DEMO_PLAIN, " \\\n" INDENT "    %s\n", buf_cstr(&config));
    else
        demo_print(page, DEMO_PLAIN, " %s\n", buf_cstr(&config));
    buf_release(&command);
    buf_release(&config);
}

void demo_next_print(struct demo_page *page, const char *program, const char *config,
                     unsigned port)
{
    const struct suggestion suggestion = {page, program, config};

    demo_heading(page, 0, "Try next, in another terminal in this folder", BYTES_ABSENT,
                 BYTES_ABSENT);
    (void)fputc('\n', page->file);
    suggest(&suggestion, "Lee comes back, with a device that nobody has registered:",
            "send CreateRelationship MachineResourceId=16777222 \\\n" INDENT
            "    'UserAccountName=contoso\\lee' SourceId=2 TypeId=1");
    suggest(&suggestion, "who belongs to what:", "list relationships");
    suggest(&suggestion, "what happened, and what happens from now on (Ctrl-C ends it):",
            "log --follow");
    suggest(&suggestion, "the receipt of a command of the story:",
            "show " DEMO_STORY_SOURCE " " DEMO_STORY_ID);
    suggest(&suggestion,
            "is the log whole, and are the views and receipts what follows from it?",
            "verify");
    suggest(&suggestion, "how far each shard is:", "status");
    demo_print(page, DEMO_DIM, "    the events, as any Kafka client reads them:\n");
    demo_print(page, DEMO_PLAIN,
               INDENT "kcat -b 127.0.0.1:%u -C -t kinlog.events -o beginning -e -q -f "
                      "'%%k %%s %%h\\n'\n",
               port);
    demo_print(page, DEMO_DIM, "    a command, as any Kafka client sends it:\n");
    demo_print(page, DEMO_PLAIN,
               INDENT "echo '{\"ResourceID\": 16777223, \"Name\": \"KIOSK-1\"}' | kcat "
                      "-b 127.0.0.1:%u -P \\\n" INDENT
                      "    -t kinlog.commands -k device:16777223 -X "
                      "partitioner=murmur2_random \\\n" INDENT
                      "    -H ce_specversion=1.0 -H ce_id=try-1 -H ce_source=/me -H "
                      "ce_type=RegisterDevice\n",
               port);
    demo_print(page, DEMO_BOLD,
               "\n    What comes of it is shown here, too. Ctrl-C ends the demo.\n");
}
