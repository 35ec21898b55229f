/* complete.h - what the last word of a command line may become, for the shells.
 *
 * Everything is read from tables: subcommands, options, types and their parameters, keys
 * of the configuration. What an option's value or a subcommand's arguments may be stands
 * in cli_option.argument and cli_command.arguments, in the form that people read in help:
 *
 *     earliest|latest    one of these words
 *     FILE, DIR          a file, a folder (KEYFILE is a file, too)
 *     TYPE, COMMAND...   other capitals: what complete.c has for them; unknown ones are nothing
 *     A B...             one argument after the other; the last may be repeated
 *
 * The answer's first line says what is wanted: `files` or `folders`, whose names the shell
 * knows better, or `words`. Then one line for each: word, tab, meaning. A word that ends
 * in '=' is to be continued.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_COMPLETE_H
#define AGENT_CLI_COMPLETE_H

#include <stdio.h>

/* words: those behind the program's name, without quotes, up to the cursor; the last one
 * is completed, and may be empty. */
void complete_print(FILE *out, int count, char *const *words);

#endif
