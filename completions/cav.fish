# fish completion for cav. Install: cav completion fish > ~/.config/fish/completions/cav.fish
function __cav_complete
    set --local words (commandline --current-process --cut-at-cursor)
    env _CAV_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=$argv[1] \
        _TYPER_COMPLETE_ARGS="$words" cav 2> /dev/null
end
complete --command cav --no-files --condition "__cav_complete is-args" --arguments "(__cav_complete get-args)"
