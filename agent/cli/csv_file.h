/* csv_file.h - a file of text as UTF-8, in pieces, its hash known before the first one.
 *
 * UTF-8 with or without a byte order mark, and UTF-16 with one. What is no character in
 * UTF-16 comes out as a byte that is none in UTF-8, so that its row is found faulty. What
 * cannot be read twice (a pipe) is copied to a temporary file, without a name, in $TMPDIR
 * or else in /var/tmp.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_CSV_FILE_H
#define AGENT_CLI_CSV_FILE_H

#include "events/base/bytes.h"
#include "events/base/error.h"
#include "events/base/hash.h"

struct csv_file;

/* path "-": standard input. Reads all of it once; shows its progress. ERROR_IO,
 * ERROR_INVALID: there is nothing in it; ERROR_STOPPED: interrupted. */
int csv_file_open(const char *path, struct csv_file **ret_file, struct error *err);
void csv_file_close(struct csv_file *file); /* NULL is fine */
/* A csv_read_fn; context is the struct csv_file. */
int csv_file_read(void *context, struct bytes *ret_piece, struct error *err);

const uint8_t *csv_file_sha256(const struct csv_file *file); /* SHA256_SIZE bytes */
uint64_t csv_file_size(const struct csv_file *file);         /* in bytes */
uint64_t csv_file_position(const struct csv_file *file);     /* how far it is read */
/* Is that the same file? */
bool csv_file_is(const struct csv_file *file, const char *path);

#endif
