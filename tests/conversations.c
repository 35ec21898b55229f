/* conversations.c - every run of two conversations between two shards.
 *
 *     conversations [long]     with longer scenarios in place of the short ones
 *     conversations only PATTERN     those whose names fit: test_replaced*
 *
 * What each shard does comes from the real core (tests/lib/shard_graph.h). A *world* is
 * both shards and the mail between them; all worlds that can be reached are visited,
 * breadth first, each once. In a world,
 *
 *   - any message that waits arrives, so in every order, and late ones after the outcome;
 *   - any message that has arrived comes again, as often as it likes: both the users'
 *     commands and what the shards say to each other, the Ticks too;
 *   - a message between shards is lost, LOSSES_MAX in one run;
 *   - a shard is restarted, as often as it likes, and sends again all that its answer
 *     cursor may stand before, or only what it asked and is not told yet;
 *   - time passes until a timer is due, any of those that are set, and a Tick comes.
 *
 * What says that a reference is given up (release, end), and all that follows when a device
 * was replaced (adopt, end and confirm of the adoption), is lost only for so long: the
 * cursor does not move over what was not acknowledged, so its shard is restarted one day.
 * What asks, confirms or refuses may be lost for good, as if a topic had been cut: the
 * timeout is there for that.
 *
 * The bounds are the commands of a scenario, each of which comes or does not, and
 * LOSSES_MAX; repeats and restarts have none.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/decide/decide.h"
#include "tests/lib/shard_graph.h"

#define LOSSES_MAX 1
#define MAIL_MAX 40
#define COMMANDS_MAX 6
#define WORLDS_MAX 4000000

#define RELEASE "kinlog.ReleaseReference.v1"
#define END "kinlog.EndReference.v1"
#define RESTARTS "restarts" /* of a shard, in place of a message that arrives */
#define CONFIRM "kinlog.ConfirmReference.v1"
#define ADOPT "kinlog.AdoptRelationship.v1"
#define END_ADOPTION "kinlog.EndAdoption.v1"
#define CONFIRM_ADOPTION "kinlog.ConfirmAdoption.v1"

/* ---- worlds ------------------------------------------------------------------------ */

enum mail_state { WAITS, ARRIVED, LOST };

struct mail {
    uint32_t message;
    enum mail_state state;
};

struct world {
    uint32_t shards[GRAPH_SHARDS];  /* their states */
    uint32_t answers[COMMANDS_MAX]; /* value + 1, 0 = none */
    uint32_t losses;
    uint32_t mail_count;
    struct mail mail[MAIL_MAX]; /* by message */
};

/* Devices: %1, %2 of shard 0, %3, %4 of shard 1. */
struct wish {
    uint32_t at; /* the shard that it is for */
    const char *type;
    const char *data;
};

/* What is never lost, wherever it is. */
struct affinity {
    uint8_t user; /* the last character of the name; 0 = no more */
    uint32_t source;
};

struct scenario {
    const char *setup; /* which of the devices are registered, "1234" */
    bool stubs;        /* unknown ones become stubs, once a shard has heard of it */
    struct wish before[COMMANDS_MAX]; /* done when the runs begin */
    struct wish wishes[COMMANDS_MAX];
    struct affinity kept[COMMANDS_MAX];
};

/* How a world was reached, for people. */
struct arrival {
    uint32_t before;
    const char *what; /* "arrives", ... */
    uint32_t subject; /* a message; of a restart, the shard */
};

struct exploration {
    struct graph *graph;
    const struct scenario *scenario;
    struct intern worlds;
    struct arrival *arrivals; /* by world */
    size_t arrival_capacity;
    uint32_t present;     /* the world at hand */
    struct arrival taken; /* the step from it at hand; .what NULL = none yet */
    size_t quiet;         /* worlds that were quiescent */
};

static struct bytes bytes_of_world(const struct world *world)
{
    return bytes_of(world, offsetof(struct world, mail) +
                               world->mail_count * sizeof world->mail[0]);
}

static struct world world_at(const struct exploration *exploration, uint32_t number)
{
    struct world world = {0};
    struct bytes text = exploration->worlds.items[number];

    memcpy(&world, text.data, text.size);
    return world;
}

static const struct graph_state *shard_of(const struct exploration *exploration,
                                          const struct world *world, uint32_t shard)
{
    return graph_state_at(exploration->graph, world->shards[shard]);
}

static const struct graph_message *message_of(const struct exploration *exploration,
                                              const struct mail *mail)
{
    return graph_message_at(exploration->graph, mail->message);
}

/* ---- what is told of a failure ----------------------------------------------------- */

static void print_arrival(const struct exploration *exploration,
                          const struct arrival *arrival)
{
    if (strcmp(arrival->what, RESTARTS) == 0) {
        print_error("  shard %u restarts\n", arrival->subject);
        return;
    }
    const struct graph_message *message =
        graph_message_at(exploration->graph, arrival->subject);
    print_error("  %.*s %.*s to shard %u %s: %.*s\n", (int)message->type.size,
                (const char *)message->type.data, (int)message->id.size,
                (const char *)message->id.data, message->to, arrival->what,
                (int)message->data.size, (const char *)message->data.data);
}

static void print_path(const struct exploration *exploration, uint32_t number)
{
    if (number == 0)
        return;
    print_path(exploration, exploration->arrivals[number].before);
    print_arrival(exploration, &exploration->arrivals[number]);
}

static void fail_here(const struct exploration *exploration, const char *what)
{
    print_error("%s, after\n", what);
    print_path(exploration, exploration->present);
    if (exploration->taken.what != NULL)
        print_arrival(exploration, &exploration->taken);
    fail_msg("%s", what);
}

/* ---- what must hold ---------------------------------------------------------------- */

static bool says(const struct graph_message *message, const char *type,
                 const struct position *request)
{
    char text[POSITION_TEXT_SIZE], wanted[POSITION_TEXT_SIZE + 16];

    if (!bytes_equal_str(message->type, type))
        return false;
    position_format(request, text);
    snprintf(wanted, sizeof wanted, "\"Request\":\"%s\"", text);
    for (size_t i = 0; i + strlen(wanted) <= message->data.size; i++) {
        if (memcmp(message->data.data + i, wanted, strlen(wanted)) == 0)
            return true;
    }
    return false;
}

/* What no timeout makes good. */
static bool must_arrive(const struct graph_message *message)
{
    static const char *const types[] = {RELEASE, END, ADOPT, END_ADOPTION,
                                        CONFIRM_ADOPTION};

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (bytes_equal_str(message->type, types[i]))
            return true;
    }
    return false;
}

/* Will it arrive, if nothing more is lost? */
static bool will_arrive(const struct exploration *exploration, const struct mail *mail)
{
    return mail->state == WAITS ||
           (mail->state == LOST && must_arrive(message_of(exploration, mail)));
}

static bool is_underway(const struct exploration *exploration, const struct world *world,
                        const char *type, const struct position *request)
{
    for (uint32_t i = 0; i < world->mail_count; i++) {
        if (will_arrive(exploration, &world->mail[i]) &&
            says(message_of(exploration, &world->mail[i]), type, request))
            return true;
    }
    return false;
}

static bool is_held(const struct exploration *exploration, const struct world *world,
                    uint32_t device, const struct position *request)
{
    for (uint32_t shard = 0; shard < GRAPH_SHARDS; shard++) {
        const struct graph_state *state = shard_of(exploration, world, shard);
        for (size_t i = 0; i < state->reference_count; i++) {
            const struct graph_reference *held = &state->references[i];
            if (held->device == device && held->request.shard == request->shard &&
                held->request.sequence == request->sequence)
                return true;
        }
    }
    return false;
}

/* Behavior 2 allows no second association of its source, a pending one neither. */
static void check_exclusion(const struct exploration *exploration,
                            const struct graph_state *state)
{
    for (size_t i = 0; i < state->association_count; i++) {
        for (size_t k = 0; k < state->association_count; k++) {
            if (i != k &&
                state->associations[i].source == state->associations[k].source &&
                state->associations[i].behavior == CAPTURE_AND_RESTORE_SPECIFIED)
                fail_here(exploration, "a source has a second association beside one of "
                                       "MigrationBehavior 2");
        }
    }
}

/* An association that was added has its reference, until it is told that that ended. */
static void check_associations(const struct exploration *exploration,
                               const struct world *world, uint32_t shard)
{
    const struct graph_state *state = shard_of(exploration, world, shard);

    for (size_t i = 0; i < state->association_count; i++) {
        const struct graph_association *association = &state->associations[i];
        const struct position request = {shard, association->number};
        if (association->pending || association->source == association->restore ||
            is_held(exploration, world, association->restore, &request) ||
            is_underway(exploration, world, END, &request))
            continue;
        fail_here(exploration, "an association has no reference");
    }
}

/* What users had before, and what they lost since by commands of their own. */
static bool is_vouched_for(const struct exploration *exploration,
                           const struct world *world, const struct affinity *affinity)
{
    for (uint32_t shard = 0; shard < GRAPH_SHARDS; shard++) {
        const struct graph_state *state = shard_of(exploration, world, shard);
        for (size_t i = 0; i < state->relationship_count; i++) {
            const struct graph_relationship *row = &state->relationships[i];
            if (row->user == affinity->user &&
                (row->source_bits & 1u << affinity->source) != 0)
                return true;
        }
    }
    return false;
}

/* Is the relationship between two devices? */
static bool is_moving(const struct exploration *exploration, const struct world *world,
                      uint8_t user)
{
    for (uint32_t i = 0; i < world->mail_count; i++) {
        const struct graph_message *message = message_of(exploration, &world->mail[i]);
        static const char name[] = "contoso\\\\";
        for (size_t k = 0; k + sizeof name < message->data.size; k++) {
            if (bytes_equal_str(message->type, ADOPT) &&
                will_arrive(exploration, &world->mail[i]) &&
                memcmp(message->data.data + k, name, sizeof name - 1) == 0 &&
                message->data.data[k + sizeof name - 1] == user)
                return true;
        }
    }
    return false;
}

/* The device that takes over is kept until it has all. */
static bool is_expected(const struct exploration *exploration, const struct world *world,
                        const struct graph_message *message)
{
    const struct graph_state *state = shard_of(exploration, world, message->to);

    for (size_t i = 0; i < state->reference_count; i++) {
        if (state->references[i].adopting &&
            says(message, ADOPT, &state->references[i].request))
            return true;
    }
    return false;
}

static void check_adoptions(const struct exploration *exploration,
                            const struct world *world)
{
    for (uint32_t i = 0; i < world->mail_count; i++) {
        const struct graph_message *message = message_of(exploration, &world->mail[i]);
        if (bytes_equal_str(message->type, ADOPT) &&
            will_arrive(exploration, &world->mail[i]) &&
            !is_expected(exploration, world, message))
            fail_here(exploration, "a relationship comes for which no device is kept");
    }
}

static void check_affinities(const struct exploration *exploration,
                             const struct world *world)
{
    for (const struct affinity *affinity = exploration->scenario->kept;
         affinity->user != 0; affinity++) {
        if (!is_vouched_for(exploration, world, affinity) &&
            !is_moving(exploration, world, affinity->user))
            fail_here(exploration, "an affinity is lost");
    }
}

static bool is_open(const struct graph_state *state, uint64_t number)
{
    for (size_t i = 0; i < state->open_request_count; i++) {
        if (state->open_requests[i] == number)
            return true;
    }
    return false;
}

static bool has_association(const struct graph_state *state,
                            const struct graph_reference *reference)
{
    for (size_t i = 0; i < state->association_count; i++) {
        if (state->associations[i].number == reference->request.sequence &&
            state->associations[i].restore == reference->device)
            return true;
    }
    return false;
}

/* A reference has its association, until it is released. */
static void check_references(const struct exploration *exploration,
                             const struct world *world, uint32_t shard)
{
    const struct graph_state *state = shard_of(exploration, world, shard);

    for (size_t i = 0; i < state->reference_count; i++) {
        const struct graph_reference *held = &state->references[i];
        const struct graph_state *asking =
            shard_of(exploration, world, held->request.shard);
        if (has_association(asking, held) ||
            (held->adopting && is_open(asking, held->request.sequence)) ||
            is_underway(exploration, world, RELEASE, &held->request) ||
            is_underway(exploration, world, CONFIRM, &held->request))
            continue;
        fail_here(exploration, "a reference has no association");
    }
}

/* Nothing more will happen, whatever the users do not send. */
static bool is_quiescent(const struct exploration *exploration, const struct world *world)
{
    for (uint32_t shard = 0; shard < GRAPH_SHARDS; shard++) {
        if (shard_of(exploration, world, shard)->due_count > 0)
            return false;
    }
    for (uint32_t i = 0; i < world->mail_count; i++) {
        if (message_of(exploration, &world->mail[i])->from != GRAPH_USERS &&
            will_arrive(exploration, &world->mail[i]))
            return false;
    }
    return true;
}

static void check_quiescent(const struct exploration *exploration,
                            const struct world *world)
{
    for (uint32_t shard = 0; shard < GRAPH_SHARDS; shard++) {
        const struct graph_state *state = shard_of(exploration, world, shard);
        for (size_t i = 0; i < state->association_count; i++) {
            if (state->associations[i].pending)
                fail_here(exploration, "an association is pending for ever");
        }
        if (state->open_request_count > 0)
            fail_here(exploration, "a request is open for ever");
    }
    for (uint32_t i = 0; i < world->mail_count; i++) {
        const struct graph_message *message = message_of(exploration, &world->mail[i]);
        if (message->from == GRAPH_USERS && world->mail[i].state == ARRIVED &&
            world->answers[message->command] == 0)
            fail_here(exploration, "a command has no answer");
    }
}

static void check(struct exploration *exploration, const struct world *world)
{
    for (uint32_t shard = 0; shard < GRAPH_SHARDS; shard++) {
        check_exclusion(exploration, shard_of(exploration, world, shard));
        check_associations(exploration, world, shard);
        check_references(exploration, world, shard);
    }
    check_affinities(exploration, world);
    check_adoptions(exploration, world);
    if (!is_quiescent(exploration, world))
        return;
    exploration->quiet++;
    check_quiescent(exploration, world);
}

/* ---- from world to world ----------------------------------------------------------- */

static void reach(struct exploration *exploration, const struct world *world,
                  const char *what, uint32_t subject)
{
    uint32_t number;

    if (!intern(&exploration->worlds, bytes_of_world(world), &number))
        return;
    exploration->arrivals =
        intern_grow(exploration->arrivals, number, &exploration->arrival_capacity,
                    sizeof exploration->arrivals[0]);
    exploration->arrivals[number] = (struct arrival){exploration->present, what, subject};
    if (number >= WORLDS_MAX)
        fail_here(exploration, "the worlds do not end");
}

/* Returns the place of a message in the mail, added as `state` if it was not there. */
static struct mail *mail_of(const struct exploration *exploration, struct world *world,
                            uint32_t message, enum mail_state state)
{
    uint32_t place = 0;

    while (place < world->mail_count && world->mail[place].message < message)
        place++;
    if (place < world->mail_count && world->mail[place].message == message)
        return &world->mail[place];
    if (world->mail_count == MAIL_MAX)
        fail_here(exploration, "there are more messages than thought");
    memmove(&world->mail[place + 1], &world->mail[place],
            (world->mail_count - place) * sizeof world->mail[0]);
    world->mail[place] = (struct mail){message, state};
    world->mail_count++;
    return &world->mail[place];
}

/* One value per command, and once: again only after a restart, or a repeat of its own. */
static void take_answer(const struct exploration *exploration, struct world *world,
                        const struct graph_answer *answer, bool may_be_again)
{
    if (answer->command >= COMMANDS_MAX)
        return; /* of the setup */
    uint32_t *known = &world->answers[answer->command];
    if (*known != 0 && *known != answer->value + 1)
        fail_here(exploration, "a command has two answers");
    if (*known != 0 && !may_be_again)
        fail_here(exploration, "a command is answered again, and nobody asked");
    *known = answer->value + 1;
}

static void walk(struct exploration *exploration, struct world *world, uint32_t shard,
                 const struct graph_step *step, const char *what, uint32_t subject)
{
    bool may_be_again =
        strcmp(what, RESTARTS) == 0 ||
        graph_message_at(exploration->graph, subject)->from == GRAPH_USERS;

    exploration->taken = (struct arrival){exploration->present, what, subject};
    if (step->fault != NULL)
        fail_here(exploration, step->fault);
    world->shards[shard] = step->state;
    for (size_t i = 0; i < step->sent_count; i++) {
        struct mail *mail = mail_of(exploration, world, step->sent[i], WAITS);
        if (mail->state == LOST)
            mail->state = WAITS;
    }
    for (size_t i = 0; i < step->answer_count; i++)
        take_answer(exploration, world, &step->answers[i], may_be_again);
    reach(exploration, world, what, subject);
}

static void deliver(struct exploration *exploration, struct world world, uint32_t message)
{
    uint32_t to = graph_message_at(exploration->graph, message)->to;

    mail_of(exploration, &world, message, ARRIVED)->state = ARRIVED;
    walk(exploration, &world, to,
         graph_deliver(exploration->graph, world.shards[to], message), "arrives",
         message);
}

static void lose(struct exploration *exploration, struct world world, uint32_t place)
{
    if (world.losses == LOSSES_MAX ||
        message_of(exploration, &world.mail[place])->from == GRAPH_USERS)
        return;
    world.losses++;
    world.mail[place].state = LOST;
    reach(exploration, &world, "is lost", world.mail[place].message);
}

/* The owner's Tick, at the due time of each timer. */
static void pass_time(struct exploration *exploration, const struct world *world,
                      uint32_t shard)
{
    for (size_t i = 0; i < shard_of(exploration, world, shard)->due_count; i++) {
        int64_t due_ms = shard_of(exploration, world, shard)->due_ms[i];
        char id[64];
        snprintf(id, sizeof id, "tick-%u-%lld-%u", shard, (long long)due_ms,
                 world->shards[shard]);
        const struct graph_message tick = {
            .from = shard,
            .to = shard,
            .time_ms = due_ms,
            .type = bytes_str("kinlog.Tick.v1"),
            .id = bytes_str(id),
            .data = bytes_str("{}"),
        };
        deliver(exploration, *world, graph_message_number(exploration->graph, &tick));
    }
}

/* The cursor does not stand behind what was not acknowledged. */
static bool may_stand_at_end(const struct exploration *exploration,
                             const struct world *world, uint32_t shard)
{
    for (uint32_t i = 0; i < world->mail_count; i++) {
        const struct graph_message *message = message_of(exploration, &world->mail[i]);
        if (message->from == shard && world->mail[i].state == LOST &&
            must_arrive(message))
            return false;
    }
    return true;
}

static void restart(struct exploration *exploration, const struct world *world,
                    uint32_t shard)
{
    struct world after = *world;

    walk(exploration, &after, shard,
         graph_restart(exploration->graph, world->shards[shard],
                       /* cursor_at_end= */ false),
         RESTARTS, shard);
    after = *world;
    if (may_stand_at_end(exploration, world, shard))
        walk(exploration, &after, shard,
             graph_restart(exploration->graph, world->shards[shard],
                           /* cursor_at_end= */ true),
             RESTARTS, shard);
}

static void go_on_from(struct exploration *exploration, const struct world *world)
{
    for (uint32_t i = 0; i < world->mail_count; i++) {
        if (world->mail[i].state != LOST)
            deliver(exploration, *world, world->mail[i].message);
        if (world->mail[i].state == WAITS)
            lose(exploration, *world, i);
    }
    for (uint32_t shard = 0; shard < GRAPH_SHARDS; shard++) {
        pass_time(exploration, world, shard);
        restart(exploration, world, shard);
    }
}

static void explore(struct exploration *exploration, const struct world *first)
{
    reach(exploration, first, "begins", 0);
    for (uint32_t i = 0; i < exploration->worlds.count; i++) {
        const struct world world = world_at(exploration, i);
        exploration->present = i;
        exploration->taken.what = NULL;
        check(exploration, &world);
        go_on_from(exploration, &world);
    }
}

/* ---- scenarios --------------------------------------------------------------------- */

static uint32_t device_of(uint32_t shard, int wanted)
{
    for (uint32_t device = 1;; device++) {
        char key[32];
        snprintf(key, sizeof key, "device:%u", device);
        if (shard_of_key(bytes_str(key), GRAPH_SHARDS) == shard && wanted-- == 0)
            return device;
    }
}

static uint32_t device_named(char name)
{
    return device_of((uint32_t)(name - '1') / 2, (name - '1') % 2);
}

/* "%1" becomes the number of the first device. */
static void fill_in(const char *format, struct buf *out)
{
    for (; *format != '\0'; format++) {
        if (*format == '%')
            buf_printf(out, "%u", device_named(*++format));
        else
            buf_append_byte(out, (uint8_t)*format);
    }
}

static uint32_t message_of_wish(struct graph *graph, const struct wish *wish,
                                uint32_t number, int64_t time_ms)
{
    struct buf data = BUF_INIT;
    char type[64], id[16];

    fill_in(wish->data, &data);
    snprintf(type, sizeof type, "kinlog.%s.v1", wish->type);
    snprintf(id, sizeof id, "%u", number);
    const struct graph_message message = {
        .from = GRAPH_USERS,
        .to = wish->at,
        .command = number,
        .time_ms = time_ms,
        .type = bytes_str(type),
        .id = bytes_str(id),
        .data = buf_bytes(&data),
    };
    uint32_t result = graph_message_number(graph, &message);
    buf_release(&data);
    return result;
}

/* Taken before the runs begin; what it sends is in the mail. */
static void prepare(struct exploration *exploration, struct world *world,
                    const struct wish *wish, uint32_t number)
{
    uint32_t message =
        message_of_wish(exploration->graph, wish, COMMANDS_MAX + number, GRAPH_TIME_MS);
    const struct graph_step *step =
        graph_deliver(exploration->graph, world->shards[wish->at], message);

    assert_null(step->fault);
    world->shards[wish->at] = step->state;
    for (size_t i = 0; i < step->sent_count; i++)
        mail_of(exploration, world, step->sent[i], WAITS);
}

static void register_device(struct exploration *exploration, struct world *world,
                            char name)
{
    char data[] = "{\"ResourceID\":%1,\"Name\":\"PC\"}";
    *strchr(data, '1') = name;
    const struct wish wish = {(uint32_t)(name - '1') / 2, "RegisterDevice", data};

    prepare(exploration, world, &wish, (uint32_t)name);
}

static void set_policy(struct exploration *exploration, struct world *world)
{
    const struct wish wish = {
        shard_of_key(bytes_str("policy"), GRAPH_SHARDS),
        "SetPolicy",
        "{\"Name\":\"devices.unknown\",\"Value\":\"stub\"}",
    };

    prepare(exploration, world, &wish, 0);
}

static void run_scenario(struct graph *graph, const struct scenario *scenario)
{
    struct exploration exploration = {.graph = graph, .scenario = scenario};
    struct world first = {0};

    for (uint32_t shard = 0; shard < GRAPH_SHARDS; shard++)
        first.shards[shard] = graph_empty(graph, shard);
    for (const char *name = scenario->setup; *name != '\0'; name++)
        register_device(&exploration, &first, *name);
    if (scenario->stubs)
        set_policy(&exploration, &first);
    for (uint32_t i = 0; i < COMMANDS_MAX && scenario->before[i].type != NULL; i++)
        prepare(&exploration, &first, &scenario->before[i], 1000 + i);
    /* Each has a second of its own, so that their requests are due one by one. */
    for (uint32_t i = 0; i < COMMANDS_MAX && scenario->wishes[i].type != NULL; i++)
        mail_of(&exploration, &first,
                message_of_wish(graph, &scenario->wishes[i], i,
                                GRAPH_TIME_MS + 1000 * (int64_t)i),
                WAITS);
    explore(&exploration, &first);
    print_message("  %zu worlds, %zu quiescent, of %zu states of a shard\n",
                  exploration.worlds.count, exploration.quiet, graph_states(graph));
    assert_true(exploration.quiet > 1);
    intern_release(&exploration.worlds);
    free(exploration.arrivals);
}

#define PAIR(source, restore)                                                            \
    "{\"SourceClientResourceID\":" source ",\"RestoreClientResourceID\":" restore "}"
#define PAIR_WITH_USER(source, restore)                                                  \
    "{\"SourceClientResourceID\":" source ",\"RestoreClientResourceID\":" restore        \
    ",\"UserNames\":[{\"UserName\":\"contoso\\\\ann\"}]}"
#define DEVICE(device) "{\"ResourceID\":" device "}"
#define NAMED_DEVICE(device) "{\"ResourceID\":" device ",\"Name\":\"PC\"}"
#define DEVICE_BY_FORCE(device) "{\"ResourceID\":" device ",\"Force\":true}"

static int setup(void **state)
{
    *state = graph_new();
    return 0;
}

static int teardown(void **state)
{
    graph_free(*state);
    return 0;
}

/* Two that exclude each other, and one of them is deleted. */
static void test_exclusion(void **state)
{
    static const struct scenario scenario = {
        .setup = "134",
        .wishes = {{0, "AddAssociation", PAIR_WITH_USER("%1", "%3")},
                   {0, "AddAssociation", PAIR_WITH_USER("%1", "%4")},
                   {0, "DeleteAssociation", PAIR("%1", "%3")}},
    };

    run_scenario(*state, &scenario);
}

/* The same, and the other one's device is removed. */
static void test_exclusion_and_removal(void **state)
{
    static const struct scenario scenario = {
        .setup = "134",
        .wishes = {{0, "AddAssociation", PAIR_WITH_USER("%1", "%3")},
                   {0, "AddAssociation", PAIR_WITH_USER("%1", "%4")},
                   {0, "DeleteAssociation", PAIR("%1", "%3")},
                   {1, "RemoveDevice", DEVICE_BY_FORCE("%4")}},
    };

    run_scenario(*state, &scenario);
}

/* The same pair again. */
static void test_again(void **state)
{
    static const struct scenario scenario = {
        .setup = "13",
        .wishes = {{0, "AddAssociation", PAIR("%1", "%3")},
                   {0, "AddAssociation", PAIR("%1", "%3")},
                   {0, "DeleteAssociation", PAIR("%1", "%3")}},
    };

    run_scenario(*state, &scenario);
}

/* The same, and their device is removed. */
static void test_again_and_removal(void **state)
{
    static const struct scenario scenario = {
        .setup = "13",
        .wishes = {{0, "AddAssociation", PAIR("%1", "%3")},
                   {0, "AddAssociation", PAIR("%1", "%3")},
                   {0, "DeleteAssociation", PAIR("%1", "%3")},
                   {1, "RemoveDevice", DEVICE_BY_FORCE("%3")}},
    };

    run_scenario(*state, &scenario);
}

/* Both shards ask each other, and one device is both source and restored to. */
static void test_opposite(void **state)
{
    static const struct scenario scenario = {
        .setup = "13",
        .wishes = {{0, "AddAssociation", PAIR("%1", "%3")},
                   {1, "AddAssociation", PAIR("%3", "%1")},
                   {1, "RemoveDevice", DEVICE_BY_FORCE("%3")}},
    };

    run_scenario(*state, &scenario);
}

/* Two sources, one restoring device, which is removed. */
static void test_one_restoring_device(void **state)
{
    static const struct scenario scenario = {
        .setup = "123",
        .wishes = {{0, "AddAssociation", PAIR("%1", "%3")},
                   {0, "AddAssociation", PAIR("%2", "%3")},
                   {1, "RemoveDevice", DEVICE_BY_FORCE("%3")}},
    };

    run_scenario(*state, &scenario);
}

/* A device that becomes known late, one that never does, and a source that goes. */
static void test_unknown_device(void **state)
{
    static const struct scenario scenario = {
        .setup = "1",
        .wishes = {{0, "AddAssociation", PAIR("%1", "%3")},
                   {0, "AddAssociation", PAIR("%1", "%4")},
                   {0, "RemoveDevice", DEVICE_BY_FORCE("%1")},
                   {1, "RegisterDevice", NAMED_DEVICE("%3")}},
    };

    run_scenario(*state, &scenario);
}

/* Devices are registered as stubs on the way, on both sides. */
static void test_stubs(void **state)
{
    static const struct scenario scenario = {
        .setup = "",
        .stubs = true,
        .wishes = {{0, "AddAssociation", PAIR("%1", "%3")},
                   {0, "AddAssociation", PAIR("%2", "%3")}},
    };

    run_scenario(*state, &scenario);
}

#define REPLACE(old, new) "{\"ResourceID\":" old ",\"NewResourceID\":" new "}"
#define HAS(device, user, source)                                                        \
    "{\"MachineResourceId\":" device ",\"UserAccountName\":\"contoso\\\\" user           \
    "\",\"SourceId\":" source ",\"TypeId\":1}"

/* A device moves with two users, one of whom the new device has already. */
static void test_replaced(void **state)
{
    static const struct scenario scenario = {
        .setup = "13",
        .before = {{0, "CreateRelationship", HAS("%1", "a", "2")},
                   {0, "CreateRelationship", HAS("%1", "b", "4")},
                   {1, "CreateRelationship", HAS("%3", "b", "6")}},
        .wishes = {{0, "ReplaceDevice", REPLACE("%1", "%3")}},
        .kept = {{'a', 2}, {'b', 4}, {'b', 6}},
    };

    run_scenario(*state, &scenario);
}

/* Meanwhile the old device gets a user, and the new one loses the one that both have. */
static void test_replaced_and_changed(void **state)
{
    static const struct scenario scenario = {
        .setup = "13",
        .before = {{0, "CreateRelationship", HAS("%1", "a", "2")},
                   {0, "CreateRelationship", HAS("%1", "b", "4")},
                   {1, "CreateRelationship", HAS("%3", "b", "6")}},
        .wishes = {{0, "ReplaceDevice", REPLACE("%1", "%3")},
                   {0, "CreateRelationship", HAS("%1", "c", "2")},
                   {1, "DeleteRelationship",
                    "{\"ResourceID\":%3,\"UniqueUserName\":\"contoso\\\\b\"}"}},
        .kept = {{'a', 2}},
    };

    run_scenario(*state, &scenario);
}

/* Both devices are to be removed. */
static void test_replaced_and_removed(void **state)
{
    static const struct scenario scenario = {
        .setup = "13",
        .before = {{0, "CreateRelationship", HAS("%1", "a", "2")}},
        .wishes = {{0, "ReplaceDevice", REPLACE("%1", "%3")},
                   {0, "RemoveDevice", DEVICE_BY_FORCE("%1")},
                   {1, "RemoveDevice", DEVICE_BY_FORCE("%3")}},
    };

    run_scenario(*state, &scenario);
}

/* The device has nobody. */
static void test_replaced_without_users(void **state)
{
    static const struct scenario scenario = {
        .setup = "13",
        .wishes = {{0, "ReplaceDevice", REPLACE("%1", "%3")},
                   {0, "RegisterDevice", NAMED_DEVICE("%1")}},
    };

    run_scenario(*state, &scenario);
}

/* The device to come is known late, and the device is wanted twice. */
static void test_replaced_twice(void **state)
{
    static const struct scenario scenario = {
        .setup = "13",
        .before = {{0, "CreateRelationship", HAS("%1", "a", "2")}},
        .wishes = {{0, "ReplaceDevice", REPLACE("%1", "%3")},
                   {0, "ReplaceDevice", REPLACE("%1", "%4")},
                   {1, "RegisterDevice", NAMED_DEVICE("%4")}},
        .kept = {{'a', 2}},
    };

    run_scenario(*state, &scenario);
}

/* Each is to replace the other: one goes, or none. */
static void test_replaced_by_each_other(void **state)
{
    static const struct scenario scenario = {
        .setup = "13",
        .before = {{0, "CreateRelationship", HAS("%1", "a", "2")},
                   {1, "CreateRelationship", HAS("%3", "b", "2")}},
        .wishes = {{0, "ReplaceDevice", REPLACE("%1", "%3")},
                   {1, "ReplaceDevice", REPLACE("%3", "%1")}},
        .kept = {{'a', 2}, {'b', 2}},
    };

    run_scenario(*state, &scenario);
}

/* The computer is exchanged while its user state migrates. */
static void test_replaced_while_associated(void **state)
{
    static const struct scenario scenario = {
        .setup = "13",
        .before = {{0, "CreateRelationship", HAS("%1", "a", "2")}},
        .wishes = {{0, "AddAssociation", PAIR("%1", "%3")},
                   {0, "ReplaceDevice", REPLACE("%1", "%3")},
                   {0, "DeleteAssociation", PAIR("%1", "%3")}},
        .kept = {{'a', 2}},
    };

    run_scenario(*state, &scenario);
}

/* The device is to be restored to, and to go. */
static void test_replaced_while_referred_to(void **state)
{
    static const struct scenario scenario = {
        .setup = "13",
        .before = {{0, "CreateRelationship", HAS("%1", "a", "2")}},
        .wishes = {{1, "AddAssociation", PAIR("%3", "%1")},
                   {0, "ReplaceDevice", REPLACE("%1", "%3")}},
        .kept = {{'a', 2}},
    };

    run_scenario(*state, &scenario);
}

/* One run, in which nothing waits. */
struct run {
    struct graph *graph;
    uint32_t shards[GRAPH_SHARDS];
    uint32_t mail[MAIL_MAX]; /* on its way */
    size_t mail_count;
    bool last_first; /* in which order it arrives */
    size_t answers;
};

static uint32_t next_of_mail(struct run *run)
{
    size_t place = run->last_first ? run->mail_count - 1 : 0;
    uint32_t number = run->mail[place];

    run->mail_count--;
    memmove(&run->mail[place], &run->mail[place + 1],
            (run->mail_count - place) * sizeof run->mail[0]);
    return number;
}

static void take_step(struct run *run, uint32_t shard, const struct graph_step *step)
{
    assert_null(step->fault);
    run->shards[shard] = step->state;
    run->answers += step->answer_count;
    for (size_t i = 0; i < step->sent_count; i++) {
        assert_true(run->mail_count < MAIL_MAX);
        run->mail[run->mail_count++] = step->sent[i];
    }
}

/* Until nothing is on its way; messages of the type `cut` come to nothing. */
static void run_on(struct run *run, const char *cut)
{
    while (run->mail_count > 0) {
        uint32_t number = next_of_mail(run);
        const struct graph_message *message = graph_message_at(run->graph, number);
        uint32_t to = message->to;
        if (cut == NULL || !bytes_equal_str(message->type, cut))
            take_step(run, to, graph_deliver(run->graph, run->shards[to], number));
    }
}

static void send_wish(struct run *run, const struct wish *wish, uint32_t number)
{
    run->mail[run->mail_count++] =
        message_of_wish(run->graph, wish, number, GRAPH_TIME_MS);
    run_on(run, NULL);
}

static void cut_topic(struct graph *graph, const char *type, bool last_first)
{
    static const struct wish before[] = {
        {0, "RegisterDevice", NAMED_DEVICE("%1")},
        {1, "RegisterDevice", NAMED_DEVICE("%3")},
        {0, "CreateRelationship", HAS("%1", "a", "2")},
    };
    static const struct wish replace = {0, "ReplaceDevice", REPLACE("%1", "%3")};
    struct run run = {.graph = graph, .last_first = last_first};

    for (uint32_t shard = 0; shard < GRAPH_SHARDS; shard++)
        run.shards[shard] = graph_empty(graph, shard);
    for (uint32_t i = 0; i < sizeof before / sizeof before[0]; i++)
        send_wish(&run, &before[i], COMMANDS_MAX + i);
    run.answers = 0;
    run.mail[run.mail_count++] = message_of_wish(graph, &replace, 0, GRAPH_TIME_MS);
    run_on(&run, type);
    assert_int_equal(run.answers, 0);
    take_step(&run, 0, graph_restart(graph, run.shards[0], /* cursor_at_end= */ true));
    run_on(&run, NULL);
    assert_int_equal(run.answers, 1);
    assert_int_equal(graph_state_at(graph, run.shards[0])->open_request_count, 0);
    assert_int_equal(graph_state_at(graph, run.shards[1])->reference_count, 0);
    assert_int_equal(graph_state_at(graph, run.shards[1])->relationship_count, 1);
}

/* A topic is cut before its messages were read: what comes after the confirmation has no
 * timeout, and is said again once the shard that asked has a new owner. */
static void test_replaced_with_cut_topic(void **state)
{
    static const char *const cuts[] = {ADOPT, END_ADOPTION, CONFIRM_ADOPTION};

    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        cut_topic(*state, cuts[i], /* last_first= */ false);
        cut_topic(*state, cuts[i], /* last_first= */ true);
    }
}

/* Nothing above is worth much if it did not come to this. */
static void test_all_was_seen(void **state)
{
    static const char *const events[] = {
        "AssociationRequested", "AssociationAdded",  "AssociationDeleted",
        "RequestRefused",       "ReferenceAdded",    "ReferenceRefused",
        "ReferenceReleased",    "ReferenceUnwanted", "ReferenceEnded",
        "CommandUnchanged",     "CommandRejected",   "DeviceRemoved",
        "ReplacementRequested", "RelationshipMoved", "RelationshipAdopted",
        "AdoptionEnded",        "DeviceReplaced",    "ReplacementCompleted",
    };

    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        if (!graph_saw(*state, events[i]))
            fail_msg("there was no %s", events[i]);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exclusion),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_opposite),
        cmocka_unit_test(test_one_restoring_device),
        cmocka_unit_test(test_unknown_device),
        cmocka_unit_test(test_stubs),
        cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_replaced_and_changed),
        cmocka_unit_test(test_replaced_and_removed),
        cmocka_unit_test(test_replaced_without_users),
        cmocka_unit_test(test_replaced_twice),
        cmocka_unit_test(test_replaced_by_each_other),
        cmocka_unit_test(test_replaced_while_associated),
        cmocka_unit_test(test_replaced_while_referred_to),
        cmocka_unit_test(test_replaced_with_cut_topic),
        cmocka_unit_test(test_all_was_seen),
    };
    const struct CMUnitTest long_tests[] = {
        cmocka_unit_test(test_exclusion_and_removal),
        cmocka_unit_test(test_again_and_removal),
    };

    if (argc == 3 && strcmp(argv[1], "only") == 0)
        cmocka_set_test_filter(argv[2]);
    if (argc == 2 && strcmp(argv[1], "long") == 0)
        return cmocka_run_group_tests(long_tests, setup, teardown);
    return cmocka_run_group_tests(tests, setup, teardown);
}
