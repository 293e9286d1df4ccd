# bash completion for cav. Once: cav completion bash > ~/.local/share/bash-completion/completions/cav
_cav_offers() {
    _CAV_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args _TYPER_COMPLETE_ARGS="$2" "$1" 2> /dev/null
}
_cav_completion() {
    local line="${COMP_LINE:0:COMP_POINT}" kept="" offer
    local word="${line##*[[:space:]]}"
    # bash takes only what follows the last colon for the word, and puts the answer in its place.
    [[ "$word" == *:* && "$COMP_WORDBREAKS" == *:* ]] && kept="${word%"${word##*:}"}"
    COMPREPLY=()
    while IFS= read -r offer; do
        offer="${offer%%$'\t'*}" # without the help, for which bash has no room
        [[ -n "$offer" ]] && COMPREPLY+=("${offer#"$kept"}")
    done < <(_cav_offers "$1" "$line")
    [[ "${COMPREPLY[0]-}" == */ ]] && type compopt &> /dev/null && compopt -o nospace
    return 0
}
complete -o default -F _cav_completion cav
