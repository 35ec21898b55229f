# kinlog.bash - completion of kinlog's command lines in bash. The program knows what a word may become.
#
# SPDX-License-Identifier: Apache-2.0

_kinlog()
{
    local words=() rest=${COMP_LINE:0:COMP_POINT} current front kind word meaning i
    # bash has split at = and : too; what is written without a blank between is one word.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        current=${COMP_WORDS[i]}
        if ((i == COMP_CWORD)); then # its part up to the cursor
            current=${rest#"${rest%%[![:blank:]]*}"}
        fi
        if ((i > 0)) && [[ $rest != [[:blank:]]* ]]; then
            words[-1]+=$current
        else
            words+=("$current")
        fi
        rest=${rest#*"$current"}
    done
    words=("${words[@]//[\'\"]/}")
    # bash replaces only what stands behind the last = or :, so a word is given to it without what is before.
    current=${current##*[=:\'\"]}
    front=${words[-1]%"$current"}
    COMPREPLY=()
    while IFS=$'\t' read -r word meaning; do
        if [[ -z $kind ]]; then
            kind=$word
        else
            COMPREPLY+=("${word#"$front"}")
        fi
    done < <("$1" completion words -- "${words[@]:1}" 2>/dev/null)
    case $kind in
    files) compopt -o default ;;
    folders) compopt -o dirnames ;;
    esac
    if [[ ${COMPREPLY[0]} == *= ]]; then
        compopt -o nospace
    fi
}
complete -F _kinlog kinlog
