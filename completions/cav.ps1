# PowerShell completion for cav. Install, in $PROFILE: cav completion powershell | Out-String | iex
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
