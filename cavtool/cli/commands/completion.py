"""`cav completion SHELL`: the script that makes the tab key ask `cav`.

The scripts speak the protocol of typer's completion (variables in, offers out), but are ours: typer's for bash splits
words where bash does, at the colon of `twirl:0.7` too; ours asks as fish does, with the line as it was typed.
"""

from typing import Annotated

import typer

from cavtool.cli.output import Output
from cavtool.cli.params import Json, Quiet
from cavtool.errors import InvalidInput, closest

app = typer.Typer(rich_markup_mode=None)

BASH = r"""# bash completion for cav. Once: cav completion bash > ~/.local/share/bash-completion/completions/cav
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
"""

ZSH = r"""#compdef cav
# zsh completion for cav. Once: cav completion zsh > a file `_cav` in a folder of $fpath
_cav() {
    eval "$(_TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _CAV_COMPLETE=complete_zsh "${words[1]}" 2> /dev/null)"
}
if [[ "${funcstack[1]}" == _cav ]]; then
    _cav "$@"
else
    compdef _cav cav
fi
"""

FISH = r"""# fish completion for cav. Once: cav completion fish > ~/.config/fish/completions/cav.fish
function __cav_complete
    set --local words (commandline --current-process --cut-at-cursor)
    env _CAV_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=$argv[1] \
        _TYPER_COMPLETE_ARGS="$words" cav 2> /dev/null
end
complete --command cav --no-files --condition "__cav_complete is-args" --arguments "(__cav_complete get-args)"
"""

POWERSHELL = r"""# PowerShell completion for cav. In $PROFILE: cav completion powershell | Out-String | iex
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

# Shell, its script, and the file in `completions/` that holds it.
SCRIPTS = {
    "bash": (BASH, "cav.bash"),
    "zsh": (ZSH, "_cav"),
    "fish": (FISH, "cav.fish"),
    "powershell": (POWERSHELL, "cav.ps1"),
}


def _shells(incomplete: str) -> list[str]:
    return [shell for shell in SCRIPTS if shell.startswith(incomplete)]


@app.command()
def completion(
    shell: Annotated[str, typer.Argument(help=", ".join(SCRIPTS), autocompletion=_shells)],
    *,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print the script that completes commands, options and names in a shell.

    Try it in this one: `source <(cav completion bash)`
    """
    with Output("completion", json=as_json, quiet=quiet) as out:
        if shell not in SCRIPTS:
            raise InvalidInput(f"no script for `{shell}`", hint=closest(shell, SCRIPTS, f"one of {', '.join(SCRIPTS)}"))
        script, _ = SCRIPTS[shell]
        out.result({"script": script}, [script.rstrip()])
