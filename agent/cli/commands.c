/* commands.c - the table of subcommands, from which help, completion and man pages are
 * made.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/cli.h"

#define EXIT_BIT(code) (1U << (code))
#define EXITS_USUAL (EXIT_BIT(EXIT_DONE) | EXIT_BIT(EXIT_FAILED) | EXIT_BIT(EXIT_WRONG))
#define EXITS_SEND (EXITS_USUAL | EXIT_BIT(EXIT_REFUSED) | EXIT_BIT(EXIT_NO_ANSWER))

const char cli_about[] =
    "Kinlog keeps the record of who belongs to what in a fleet: commands come from "
    "Kafka, are decided, and become events, views and answers.";

const char cli_first_steps[] =
    "  kinlog demo                              watch it work; needs no Kafka\n"
    "  kinlog init --config kinlog.conf         make the data folder, once\n"
    "  kinlog run --config kinlog.conf          run the agent\n"
    "  kinlog send RegisterDevice ResourceID=7 Name=PC7\n"
    "  kinlog list relationships --user ann     who uses what\n"
    "  kinlog log --since -15m --follow         what happens\n";

const char cli_configuration[] =
    "-X wins over the environment (KINLOG_<SECTION>_<KEY>), that over the file. `kinlog "
    "help config` lists the keys.";

const char *const cli_exit_meanings[EXIT_CODES] = {
    [EXIT_DONE] = "done",
    [EXIT_FAILED] = "failed",
    [EXIT_WRONG] = "wrong usage or configuration",
    [EXIT_REFUSED] = "refused, or in conflict with an earlier command of the same id",
    [EXIT_NO_ANSWER] = "no answer in time",
    [EXIT_DAMAGE] = "damage was found",
};

#define NO_OPTION                                                                        \
    {                                                                                    \
        NULL, NULL, NULL                                                                 \
    }

static const struct cli_option no_options[] = {NO_OPTION};

static const struct cli_option init_options[] = {
    {"join", "KEYFILE",
     "join the site that this key file (another agent's site.key) belongs to"},
    NO_OPTION,
};

static const struct cli_option demo_options[] = {
    {"data-dir", "DIR",
     "keep the data there; else in a temporary folder, removed at the end"},
    {"port", "N", "the embedded broker's port on 127.0.0.1 (default 19092)"},
    {"once", NULL, "end after the story"},
    NO_OPTION,
};

static const struct cli_option send_options[] = {
    {"data", "FILE|-", "the parameters as a JSON object, from a file or standard input"},
    {"id", "ID",
     "the command's id (default: a random UUID); sent again, it has no second effect"},
    {"source", "SOURCE", "who sends, as a URI reference (default /kinlog/cli)"},
    {"expected-version", "N",
     "refuse if the object has another version; 0 = it must not exist"},
    {"actor", "ACTOR", "on whose word (default: the source)"},
    {"correlation-id", "ID", "passed on to events and answer"},
    {"expiry", "TIME",
     "refuse if the command reaches the broker later (RFC 3339, or as 5m)"},
    {"timeout", "TIME",
     "how long to wait for the answer (default 10s), as 500ms, 10s, 2m"},
    {"no-wait", NULL, "end when the broker has the command"},
    NO_OPTION,
};

static const struct cli_option import_options[] = {
    {"header", NULL, "the first line names the columns, or is passed over"},
    {"columns", "NAMES",
     "what the columns are, as Users,Ignored,Devices; goes before the header"},
    {"dry-run", NULL, "check all rows and count, and send nothing"},
    {"result", "FILE|-",
     "a line for each row (default: FILE.result.csv; none for a dry run or standard "
     "input)"},
    {"run", "NAME",
     "decide rows anew that an earlier import of the file, without or with another NAME, "
     "had decided"},
    {"source", "SOURCE", "who sends, as a URI reference (default /kinlog/import)"},
    {"actor", "ACTOR", "on whose word (default: the source)"},
    {"timeout", "TIME",
     "give up when no answer comes for so long (default 30s), as 500ms, 10s, 2m"},
    NO_OPTION,
};

static const struct cli_option export_options[] = {
    {"header", NULL, "begin with a line that names the columns"},
    NO_OPTION,
};

static const struct cli_option list_options[] = {
    {"user", "USER", "of this user: domain\\user, or the part behind the backslash"},
    {"device", "DEVICE", "of this device: its ResourceID or its name"},
    {"source", "N",
     "relationships that have this source, 1 to 9; associations of this source device"},
    {"restore", "DEVICE", "associations that this device receives"},
    {"status", "N", "associations: 0 not started, 1 in progress, 2 completed"},
    {"primary", NULL, "relationships that make the user a primary user"},
    {"limit", "N", "the first N only"},
    {"sort", "PROPERTY",
     "order by a property; -PROPERTY = descending (default: shard, then key)"},
    NO_OPTION,
};

static const struct cli_option log_options[] = {
    {"shard", "N", "of this shard only"},
    {"from", "SEQ", "from this sequence on"},
    {"to", "SEQ", "up to and including this sequence"},
    {"since", "TIME", "from this time on: RFC 3339, or as -15m, -2h, -7d"},
    {"until", "TIME", "before this time"},
    {"subject", "SUBJECT", "about this object and what belongs to it, as device/7"},
    {"follow", NULL, "go on with what comes, until interrupted"},
    NO_OPTION,
};

static const struct cli_option policy_options[] = {
    {"timeout", "TIME",
     "how long `set` waits until every shard has adopted it (default 10s)"},
    NO_OPTION,
};

static const struct cli_option verify_options[] = {
    {"shard", "N", "check this shard only"},
    NO_OPTION,
};

static const struct cli_option repair_options[] = {
    {"shard", "N", "this shard only"},
    NO_OPTION,
};

static const struct cli_option rebuild_options[] = {
    {"shard", "N", "this shard only"},
    {"from-topic", NULL,
     "put the store aside; the next run fills a new one from the events topic"},
    {"republish", NULL, "the next run publishes the log to the events topic anew"},
    {"commands-from", "earliest|latest",
     "go on in the commands topic at its first record, or at its end"},
    NO_OPTION,
};

const struct cli_command cli_commands[] = {
    {
        .name = "run",
        .summary = "run the agent",
        .usage = "run --config FILE",
        .description =
            "Takes commands from Kafka, decides them, logs and publishes the "
            "events, and answers. Ends within 10 seconds of SIGTERM; SIGHUP "
            "opens connections and certificates anew. The data folder must have "
            "been made by `kinlog init`.",
        .options = no_options,
        .examples = "  kinlog run --config /etc/kinlog/kinlog.conf\n"
                    "  kinlog run --config kinlog.conf -X log.level=debug\n",
        .exits = EXITS_USUAL,
        .run = cmd_run,
    },
    {
        .name = "init",
        .summary = "make the data folder, and the topics where allowed",
        .usage = "init --config FILE [--join KEYFILE]",
        .description =
            "Draws the log's id and the site key and makes one empty store per "
            "shard; with `create = true` in [topics] it makes the topics, too. "
            "A second agent of the same site gets the first one's site.key by "
            "--join and adopts its log.",
        .options = init_options,
        .examples = "  kinlog init --config kinlog.conf\n"
                    "  kinlog init --config kinlog.conf --join /media/stick/site.key\n",
        .has_json = true,
        .exits = EXITS_USUAL,
        .run = cmd_init,
    },
    {
        .name = "demo",
        .summary = "watch commands become events, views and answers; needs no Kafka",
        .usage = "demo [--once] [--data-dir DIR] [--port N]",
        .description =
            "Starts an embedded broker and an agent in one process, plays a "
            "short story with a small fleet, then stays up and says what to try "
            "next. The embedded broker keeps its messages in memory only: "
            "nothing for real data.",
        .options = demo_options,
        .examples = "  kinlog demo\n"
                    "  kinlog demo --once\n",
        .exits = EXITS_USUAL,
        .run = cmd_demo,
    },
    {
        .name = "send",
        .summary = "send a command and wait for its answer",
        .usage = "send TYPE [Name=value ...]\n"
                 "send TYPE --data FILE|-",
        .description =
            "Publishes a command and prints what became of it. Values take "
            "their type from the command's schema: SourceId=2, SourceId=2,4 and "
            "UserAccountName='hq\\ann' are a number, a list and a string. The "
            "agent judges the parameters: try it, a refusal says what is amiss. "
            "`kinlog help TYPE` explains a command's parameters.",
        .options = send_options,
        .examples = "  kinlog send RegisterDevice ResourceID=7 Name=PC7\n"
                    "  kinlog send CreateRelationship MachineResourceId=7 \\\n"
                    "      'UserAccountName=hq\\ann' SourceId=2\n"
                    "  echo '{\"ResourceID\": 7}' | kinlog send RemoveDevice --data -\n",
        .arguments = "TYPE PARAMETER=VALUE...",
        .has_json = true,
        .exits = EXITS_SEND,
        .run = cmd_send,
    },
    {
        .name = "import",
        .summary = "send a command for each row of a CSV file",
        .usage = "import affinity|devices|associations FILE|- [--header]\n"
                 "    [--columns NAMES] [--dry-run] [--result FILE|-] [--run NAME]",
        .description =
            "Sends a command for each row and waits for all answers: affinity sends "
            "CreateRelationship with SourceId 2 (administrator) and TypeId 1 (primary "
            "user), devices RegisterDevice, associations AddAssociationEx. A user is "
            "domain\\user, a device is its name, which is looked up in the data folder, "
            "or device:RESOURCEID; semicolons separate several users, locales or MAC "
            "addresses. The file is CSV (RFC 4180) in UTF-8, or in UTF-16 with a byte "
            "order mark. A refused row does not keep back the others: FILE.result.csv "
            "tells line, outcome and reason of each. An import that was cut short is run "
            "again: what was decided is answered again, and nothing happens twice. These "
            "are the columns, unless the header or --columns says otherwise:",
        .details = "  affinity: Users,Devices\n"
                   "  devices: ResourceID,Name[,ClientType[,MACAddresses[,Domain]]]\n"
                   "  associations: SourceDevice,RestoreDevice,MigrationBehavior"
                   "[,Users[,LocaleIDs]]\n",
        .options = import_options,
        .examples =
            "  kinlog import devices devices.csv --header\n"
            "  kinlog import affinity users.csv --dry-run\n"
            "  kinlog import affinity report.csv --columns Ignored,Devices,Users\n",
        .arguments = "affinity|devices|associations FILE|-",
        .has_json = true,
        .exits = EXITS_SEND,
        .run = cmd_import,
    },
    {
        .name = "export",
        .summary = "print the views as CSV that `import` reads",
        .usage = "export affinity|devices|associations [--header]",
        .description =
            "Reads the views in the data folder, whether the agent runs or not: user and "
            "device of each relationship, whatever its sources; each device that has a "
            "name; each association, without the state of its migration. A device whose "
            "name others have, too, is written as device:RESOURCEID.",
        .options = export_options,
        .examples = "  kinlog export devices --header > devices.csv\n"
                    "  kinlog export affinity > users.csv\n",
        .arguments = "affinity|devices|associations",
        .exits = EXITS_USUAL,
        .run = cmd_export,
    },
    {
        .name = "get",
        .summary = "print one relationship, device, association or policy",
        .usage = "get relationship RelationshipResourceID\n"
                 "get relationship ResourceID/UniqueUserName\n"
                 "get device ResourceID\n"
                 "get association MigrationID\n"
                 "get policy NAME",
        .description =
            "Reads the views in the data folder, whether the agent runs or not. "
            "User names are compared without regard to case.",
        .options = no_options,
        .examples = "  kinlog get relationship 23\n"
                    "  kinlog get relationship '7/hq\\ann' --json\n"
                    "  kinlog get device 7\n",
        .arguments = "relationship|device|association|policy KEY",
        .has_json = true,
        .exits = EXITS_USUAL,
        .run = cmd_get,
    },
    {
        .name = "list",
        .summary = "list relationships, devices, associations or policies",
        .usage = "list relationships [--user USER] [--device DEVICE] [--source N]\n"
                 "     [--primary]\n"
                 "list devices [--device DEVICE]\n"
                 "list associations [--source DEVICE] [--restore DEVICE]\n"
                 "     [--user USER] [--status N]\n"
                 "list policy",
        .description =
            "Reads the views in the data folder, whether the agent runs or not: "
            "each shard as of one sequence, which --json names. --ndjson prints "
            "each object with exactly the properties of its class, and Version "
            "and Shard.",
        .options = list_options,
        .examples = "  kinlog list relationships --user ann --primary\n"
                    "  kinlog list devices --sort Name --limit 20\n"
                    "  kinlog list relationships --device PC7 --ndjson\n"
                    "  kinlog list associations --source PC7 --status 0\n",
        .arguments = "relationships|devices|associations|policy",
        .has_json = true,
        .exits = EXITS_USUAL,
        .run = cmd_list,
    },
    {
        .name = "log",
        .summary = "print the events: what happened, when, by which command",
        .usage = "log [--shard N] [--from SEQ] [--to SEQ] [--since TIME] [--until TIME]\n"
                 "    [--subject SUBJECT] [--follow]",
        .description = "Reads the log in the data folder, whether the agent runs or not, "
                       "in the order of time. --ndjson prints each event as one "
                       "CloudEvents JSON object.",
        .options = log_options,
        .examples = "  kinlog log --since -15m --follow\n"
                    "  kinlog log --subject device/7\n"
                    "  kinlog log --shard 0 --from 100 --to 200 --ndjson\n",
        .has_json = true,
        .exits = EXITS_USUAL,
        .run = cmd_log,
    },
    {
        .name = "show",
        .summary = "show the receipt of a command: its answer and its events",
        .usage = "show SOURCE ID",
        .description =
            "Finds a command by its source and id and prints the answer that it "
            "got, made anew from its events. Ids are compared within a shard; "
            "all shards are searched.",
        .options = no_options,
        .examples = "  kinlog show /kinlog/cli 6f1c0a52-53a4-4d6b-9d5f-0d9a53a3c7de\n"
                    "  kinlog show /hr/joiners 2026-0042 --json\n",
        .has_json = true,
        .exits = EXITS_USUAL,
        .run = cmd_show,
    },
    {
        .name = "policy",
        .summary = "show or set the site's policy",
        .usage = "policy\n"
                 "policy set NAME=VALUE [--timeout TIME]",
        .description =
            "Policy is what decisions depend on; it is part of the log and the "
            "same for all shards. `set` sends SetPolicy and waits until every "
            "shard has adopted it.",
        .options = policy_options,
        .examples = "  kinlog policy\n"
                    "  kinlog policy set devices.unknown=stub\n",
        .arguments = "set NAME=VALUE",
        .has_json = true,
        .exits = EXITS_SEND,
        .run = cmd_policy,
    },
    {
        .name = "status",
        .summary = "show how far each shard is, and what is wrong",
        .usage = "status",
        .description =
            "Reads each shard's head from the data folder and, if the broker "
            "answers within two seconds, how many commands wait (LAG). An owner "
            "decides, a follower reads the events topic, a claiming shard is "
            "about to own; PUBLISHED is the last event that is known to lie in "
            "the topic. Digests (--json) are the same on any machine that holds "
            "the same shard at the same sequence.",
        .options = no_options,
        .examples = "  kinlog status\n"
                    "  kinlog status --json\n",
        .has_json = true,
        .exits = EXITS_USUAL,
        .run = cmd_status,
    },
    {
        .name = "verify",
        .summary = "check the log and everything made from it",
        .usage = "verify [--shard N]",
        .description =
            "Checks chain, density and the order of each command's events, "
            "replays the log, and compares views and receipts with the replay. "
            "Works while the agent runs.",
        .options = verify_options,
        .examples = "  kinlog verify\n"
                    "  kinlog verify --shard 3 --json\n",
        .has_json = true,
        .exits = EXITS_USUAL | EXIT_BIT(EXIT_DAMAGE),
        .run = cmd_verify,
    },
    {
        .name = "repair",
        .summary = "mend what is damaged, from the log or from the events topic",
        .usage = "repair [--shard N]",
        .description =
            "Does what `verify` does, compares with the events topic, and makes "
            "anew what is damaged: views from the log, a store from the topic. "
            "A damaged store is kept beside the new one. Safe at any time with "
            "the agent stopped: where somebody must decide which history "
            "counts, it refuses and names the way of `rebuild` that decides.",
        .options = repair_options,
        .examples = "  kinlog repair\n"
                    "  kinlog repair --shard 3 --json\n",
        .has_json = true,
        .exits = EXITS_USUAL | EXIT_BIT(EXIT_REFUSED),
        .run = cmd_repair,
    },
    {
        .name = "rebuild",
        .summary = "decide what counts: log, events topic or commands topic",
        .usage = "rebuild [--shard N]\n"
                 "rebuild [--shard N] --from-topic | --republish |\n"
                 "        --commands-from earliest|latest",
        .description =
            "Replays the log and puts fresh views and receipts in the place of "
            "the present ones. The agent must be stopped. The other ways decide "
            "which history counts, for a shard that has stopped with an alarm "
            "or that `repair` refuses; what they say tells which one fits.",
        .options = rebuild_options,
        .examples = "  kinlog rebuild\n"
                    "  kinlog rebuild --shard 3 --from-topic\n",
        .has_json = true,
        .exits = EXITS_USUAL,
        .run = cmd_rebuild,
    },
    {
        .name = "help",
        .summary = "explain a command, or the configuration (`kinlog help config`)",
        .usage = "help [COMMAND|TYPE|config]",
        .description = "Prints all commands, one command with its options and examples, "
                       "the parameters of a type that `send` takes, or every key of the "
                       "configuration.",
        .options = no_options,
        .examples = "  kinlog help send\n"
                    "  kinlog help CreateRelationship\n"
                    "  kinlog help config\n",
        .arguments = "COMMAND|TYPE|config",
        .exits = EXIT_BIT(EXIT_DONE) | EXIT_BIT(EXIT_WRONG),
        .run = cmd_help,
    },
    {
        .name = "version",
        .summary = "print the versions of program, formats and libraries",
        .usage = "version",
        .description = "Prints the program's version, the rules and store format that it "
                       "knows, and the libraries that it runs with.",
        .options = no_options,
        .examples = "  kinlog version\n"
                    "  kinlog version --json\n",
        .has_json = true,
        .exits = EXIT_BIT(EXIT_DONE),
        .run = cmd_version,
    },
    {
        .name = "completion",
        .summary = "print the completion for bash, zsh or fish",
        .usage = "completion bash|zsh|fish\n"
                 "completion words -- [WORD ...]",
        .description =
            "Prints a script that makes a shell complete commands, options, and their "
            "words. It asks the program by `words`: what the last of these words may "
            "become, one a line, with its meaning.",
        .options = no_options,
        .examples = "  source <(kinlog completion bash)\n"
                    "  kinlog completion fish > ~/.config/fish/completions/kinlog.fish\n",
        .arguments = "bash|zsh|fish",
        .exits = EXIT_BIT(EXIT_DONE) | EXIT_BIT(EXIT_WRONG),
        .run = cmd_completion,
    },
    {.name = NULL},
};
