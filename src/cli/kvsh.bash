# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion of kvsh: its hidden command "complete" says what may follow. The line is split at white space and not as
# COMP_WORDS has it, which breaks a URI at its colons.
_kvsh() {
	local line=${COMP_LINE:0:COMP_POINT} words=() global=() i cur word prefix found
	read -ra words <<< "$line"
	[[ $line == *[[:space:]] ]] && words+=('')
	cur=${words[-1]}
	COMPREPLY=()
	for ((i = 1; i < ${#words[@]} - 1; i++)); do
		case ${words[i]} in
		-c | --connect) global+=(-c "${words[++i]}") ;;
		-c?* | --connect=*) global+=("${words[i]}") ;;
		-d | -e | -k | -K | -l | -o | --debug | --escape | --keepalive-interval | --keepalive-count | --log | --output) ((++i)) ;;
		-*) ;;
		*) break ;;
		esac
	done
	if ((i >= ${#words[@]} - 1)) && [[ ${words[-2]} == -o || ${words[-2]} == --output ]]; then
		COMPREPLY=($(compgen -W 'text json' -- "$cur"))
	elif ((i > ${#words[@]} - 1)); then
		return
	elif ((i == ${#words[@]} - 1)) && [[ $cur == -* ]]; then
		COMPREPLY=($(compgen -W '--connect --escape --help --keepalive-count --keepalive-interval --output --quiet --readonly
			--timing --version' -- "$cur"))
	else
		mapfile -t found < <("${words[0]}" -q "${global[@]}" complete -- "${words[@]:i}" 2> /dev/null)
		# What readline has before the last colon already is not to be said again.
		prefix=
		[[ $cur == *:* && $COMP_WORDBREAKS == *:* ]] && prefix=${cur%"${cur##*:}"}
		for word in "${found[@]}"; do
			printf -v word %q "$word"
			COMPREPLY+=("${word#"$prefix"}")
		done
	fi
}
complete -o default -F _kvsh kvsh
