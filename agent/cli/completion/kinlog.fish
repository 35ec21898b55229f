# kinlog.fish - completion of kinlog's command lines in fish. The program knows what a word may become.
#
# SPDX-License-Identifier: Apache-2.0

function __kinlog_complete
    set -l words (commandline -opc)
    set -l word (commandline -ct | string trim --left --chars '"\'')
    set -l answer ($words[1] completion words -- $words[2..] "$word" 2>/dev/null)
    set -l front (string match -r '^--[^=]*=' -- "$word")
    set -l path (string replace -r '^--[^=]*=' '' -- "$word")
    switch "$answer[1]"
        case files
            printf "$front%s\n" (__fish_complete_path "$path")
        case folders
            printf "$front%s\n" (__fish_complete_directories "$path")
        case words
            printf '%s\n' $answer[2..]
    end
end

complete -c kinlog -f -a '(__kinlog_complete)'
