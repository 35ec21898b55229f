#compdef kinlog
# kinlog.zsh - completion of kinlog's command lines in zsh, to be installed as _kinlog. The program knows what a
# word may become.
#
# SPDX-License-Identifier: Apache-2.0

_kinlog()
{
    local -a answer candidates end
    local line
    answer=("${(@f)$("${(Q)words[1]}" completion words -- "${(@Q)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)}")
    case $answer[1] in
    files | folders)
        [[ $PREFIX != --* ]] || compset -P 1 '*='
        if [[ $answer[1] == files ]]; then _files; else _files -/; fi
        ;;
    words)
        for line in "${(@)answer[2,-1]}"; do
            candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
        done
        [[ $answer[2] != *=$'\t'* ]] || end=(-S '')
        _describe -t words word candidates "${(@)end}"
        ;;
    esac
}

compdef _kinlog kinlog
# As a file in $fpath this is the function's body; read with `source` it only defines.
[[ $funcstack[1] != _kinlog ]] || _kinlog
