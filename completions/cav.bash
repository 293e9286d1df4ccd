# bash completion for cav. Install: cav completion bash > ~/.local/share/bash-completion/completions/cav
_cav_offers() {
    _CAV_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args _TYPER_COMPLETE_ARGS="$2" "$1" 2> /dev/null
}
_cav_completion() {
    local line="${COMP_LINE:0:COMP_POINT}" kept="" offer
    local word="${line##*[[:space:]]}"
    # bash replaces only the part of a word after its last colon, or from its last `@` on: remove the rest from the
    # answers.
    [[ "$word" == *:* && "$COMP_WORDBREAKS" == *:* ]] && kept="${word%"${word##*:}"}"
    [[ "$word" == *@* && "$COMP_WORDBREAKS" == *@* ]] && kept="${word%@*}"
    COMPREPLY=()
    while IFS= read -r offer; do
        offer="${offer%%$'\t'*}" # without the description, which bash cannot show
        [[ -n "$offer" ]] && COMPREPLY+=("${offer#"$kept"}")
    done < <(_cav_offers "$1" "$line")
    [[ "${COMPREPLY[0]-}" == */ ]] && type compopt &> /dev/null && compopt -o nospace
    return 0
}
complete -o default -F _cav_completion cav
