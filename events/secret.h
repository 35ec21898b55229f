/* secret.h - secrets in memory that no core file holds, and the keys that are derived from
 * the site key and leave the agent sealed alone. This is all that uses libsodium.
 *
 * Derived, with crypto_kdf_derive_from_key() (keyed BLAKE2b; its contexts have 8 bytes):
 *
 *     of the shard    = kdf(site key,     shard of the position, "kinlogMS")
 *     migration's key = kdf(of the shard, its sequence,          "kinlogMK")
 *
 * where the position is the MigrationID. A sealed key is libsodium's sealed box, which
 * crypto_box_seal_open() opens: ephemeral public key, then the box (X25519,
 * XSalsa20-Poly1305, nonce = BLAKE2b(ephemeral public key, recipient)). Its ephemeral key
 * is not drawn, but derived of the position of the event that hands the key out, with
 * "kinlogES" and "kinlogEK" in the same two steps, and of what the box is:
 *
 *     ephemeral secret key = BLAKE2b(recipient, u32 shard, u64 sequence of the migration,
 *                                    keyed with what was derived; integers big-endian)
 *
 * so that every agent with the site key makes the same bytes of the same event, for ever,
 * and no two boxes with different contents have an ephemeral key in common.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef EVENTS_SECRET_H
#define EVENTS_SECRET_H

#include "events/base/error.h"
#include "events/event.h"
#include "events/position.h"

/* Room for a secret: not in core files, not swapped if the system allows that, between
 * pages that nobody may touch. NULL = out of memory. */
void *secret_new(size_t size);
/* Wipes it. */
void secret_free(void *secret);
/* Wipes what earlier calls left on the stack: a hash keeps its input there for a while. */
void secret_wipe_stack(void);

/* SHA-256 of a label and a secret, without a copy of the secret left behind. */
void secret_sha256(struct bytes label, const void *secret, size_t size,
                   uint8_t ret_digest[SHA256_SIZE]);

#define RECIPIENT_SIZE 32      /* an X25519 public key */
#define RECIPIENT_TEXT_SIZE 43 /* as base64url */
#define SEALED_KEY_SIZE 80     /* ephemeral public key, authenticator, key */

/* False if the text is no public key that something can be sealed for and opened with:
 * another length, a point of low order, a spelling that no program gives a key. */
bool recipient_parse(struct bytes text, uint8_t ret_recipient[RECIPIENT_SIZE]);

/* The key of `migration`, sealed for the recipient by the event at `given`. ERROR_NO_MEMORY,
 * ERROR_INVALID: the recipient is none that recipient_parse() gives. */
int sealed_key_make(const uint8_t site_key[SITE_KEY_SIZE],
                    const struct position *migration, const struct position *given,
                    const uint8_t recipient[RECIPIENT_SIZE],
                    uint8_t ret_sealed[SEALED_KEY_SIZE], struct error *err);

#endif
