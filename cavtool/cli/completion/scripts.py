"""The completion scripts, one per shell.

They use the protocol of typer's completion (variables in, candidates out) but are our own: typer's script for bash
splits words at every colon, also at that of `twirl:0.7`. Ours uses the protocol of fish, which passes the line as it
was typed.
"""

from typing import NamedTuple


class Script(NamedTuple):
    """A script, and the file in `completions/` that contains it."""

    text: str
    file: str


_BASH = r"""# bash completion for cav. Install: cav completion bash > ~/.local/share/bash-completion/completions/cav
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
"""

_ZSH = r"""#compdef cav
# zsh completion for cav. Install: cav completion zsh > FOLDER/_cav, where FOLDER is one of $fpath
_cav() {
    eval "$(_TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _CAV_COMPLETE=complete_zsh "${words[1]}" 2> /dev/null)"
}
if [[ "${funcstack[1]}" == _cav ]]; then
    _cav "$@"
else
    compdef _cav cav
fi
"""

_FISH = r"""# fish completion for cav. Install: cav completion fish > ~/.config/fish/completions/cav.fish
function __cav_complete
    set --local words (commandline --current-process --cut-at-cursor)
    env _CAV_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=$argv[1] \
        _TYPER_COMPLETE_ARGS="$words" cav 2> /dev/null
end
complete --command cav --no-files --condition "__cav_complete is-args" --arguments "(__cav_complete get-args)"
"""

_POWERSHELL = r"""# PowerShell completion for cav. Install, in $PROFILE: cav completion powershell | Out-String | iex
Register-ArgumentCompleter -Native -CommandName cav -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $Env:_CAV_COMPLETE = "complete_powershell"
    $Env:_TYPER_COMPLETE_ARGS = $commandAst.ToString()
    $Env:_TYPER_COMPLETE_WORD_TO_COMPLETE = $wordToComplete
    cav 2> $null | ForEach-Object {
        $value, $help = $_ -Split ":::", 2
        [System.Management.Automation.CompletionResult]::new($value, $value, 'ParameterValue', $help)
    }
    Remove-Item Env:_CAV_COMPLETE, Env:_TYPER_COMPLETE_ARGS, Env:_TYPER_COMPLETE_WORD_TO_COMPLETE
}
"""

SCRIPTS = {
    "bash": Script(_BASH, "cav.bash"),
    "zsh": Script(_ZSH, "_cav"),
    "fish": Script(_FISH, "cav.fish"),
    "powershell": Script(_POWERSHELL, "cav.ps1"),
}


def shells(incomplete: str) -> list[str]:
    """The shells that have a script, for completion."""
    return [shell for shell in SCRIPTS if shell.startswith(incomplete)]
