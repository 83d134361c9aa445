#compdef kvsh
# SPDX-License-Identifier: GPL-2.0-or-later
# zsh completion of kvsh: its hidden command "complete" says what may follow.
local -a global found
local i=2
while ((i < CURRENT)); do
	case ${words[i]} in
	-c | --connect) global+=(-c ${(Q)words[i + 1]}); ((i += 2)) ;;
	-c?* | --connect=*) global+=(${(Q)words[i]}); ((i += 1)) ;;
	-d | -e | -k | -K | -l | -o | --debug | --escape | --keepalive-interval | --keepalive-count | --log | --output) ((i += 2)) ;;
	-*) ((i += 1)) ;;
	*) break ;;
	esac
done
if [[ ${words[CURRENT - 1]} == (-o|--output) && $i -ge CURRENT ]]; then
	compadd text json
elif ((i > CURRENT)); then
	_default
elif ((i == CURRENT)) && [[ ${words[CURRENT]} == -* ]]; then
	compadd -- --connect --escape --help --keepalive-count --keepalive-interval --output --quiet --readonly --timing --version
else
	found=("${(@f)$(${(Q)words[1]} -q $global complete -- ${(Q)words[i,CURRENT]} 2> /dev/null)}")
	[[ -n ${found[1]} ]] && compadd -- $found || _files
fi
