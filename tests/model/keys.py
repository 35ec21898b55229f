# keys.py - keys of migrations in the model: who may get one, and the sealed form in which it is given.
#
# A part of kinlog_model.Shard beside associations.py. Hashes are Python's own; what they do not have
# (X25519 and the box) is libsodium's, by PyNaCl.
#
# SPDX-License-Identifier: Apache-2.0
import base64
import hashlib
import struct

from nacl.bindings import crypto_box, crypto_scalarmult_base

from kinlog_parts import ACCESS_DENIED, OTHER_FAILURE, Rejected, base64url, text_between

PRIME = 2 ** 255 - 19
# The points whose order divides 8: the shared secret would be the same for everybody.
LOW_ORDER = (0, 1, PRIME - 1,
             325606250916557431795983626356110631294008115727848805560023387167927233504,
             39382357235489614581723060781553021112529911719440698176882885853963445705823)


def key_bytes(text):
    """The 32 bytes of a public key; ValueError if it is none: base64url in its one spelling, a number below
    the prime, no point of low order."""
    data = base64.b64decode(text + '=', altchars=b'-_', validate=True) if text.isascii() else b''
    number = int.from_bytes(data, 'little')
    if len(data) != 32 or base64url(data) != text or number >= PRIME or number in LOW_ORDER:
        raise ValueError
    return data


def public_key(node):
    text = text_between(43, 43)(node)
    key_bytes(text)
    return text


class Recipients:
    """All values of the policy keys.recipients."""

    def __contains__(self, value):
        try:
            return value == '' or all(key_bytes(text) for text in value.split(','))
        except ValueError:
            return False


# ---- derived and sealed ----------------------------------------------------------------

def position(text):
    shard, sequence = text.split('-')
    return int(shard), int(sequence)


def derived(site_key, place, *contexts):
    """libsodium's KDF, for the shard and then for the sequence."""
    key = site_key
    for number, context in zip(place, contexts):
        key = hashlib.blake2b(digest_size=32, key=key, salt=struct.pack('<Q', number), person=context).digest()
    return key


def sealed(site_key, migration, given, recipient):
    """What crypto_box_seal_open() opens: the migration's key, given by the event at that position."""
    key = derived(site_key, migration, b'kinlogMS', b'kinlogMK')
    ephemeral = hashlib.blake2b(recipient + struct.pack('>IQ', *migration), digest_size=32,
                                key=derived(site_key, given, b'kinlogES', b'kinlogEK')).digest()
    public = crypto_scalarmult_base(ephemeral)
    nonce = hashlib.blake2b(public + recipient, digest_size=24).digest()
    return public + crypto_box(key, nonce, recipient, ephemeral)


def answer_out(event, shard, site_key):
    """The out parameter that stands in no event."""
    return {'Key': base64url(sealed(site_key, position(event.data['MigrationID']), (shard, event.sequence),
                                    key_bytes(event.data['Recipient'])))}


class Keys:
    """The part of a Shard that decides who gets a key."""

    def get_encrypt_decrypt_key(self, values, now):
        if values['PublicKey'] not in self.policy('keys.recipients').split(','):
            raise Rejected(ACCESS_DENIED, 'PublicKey')
        row = self.find_association(values)
        if row.pending:
            raise Rejected(OTHER_FAILURE, None)
        return [self.about(row, 'EncryptDecryptKeyGiven', Recipient=values['PublicKey'])]
