# Runs a throw-away Postgres for as long as somebody holds the FIFO "users" open
# for writing, and then removes it. Descriptor 3 is the FIFO's reading end; the
# kernel closes the users' ends however they end.
#
#   supervise.sh INSTANCE_DIR GRACE_SECONDS POSTGRES ARGUMENTS…
dir=$1 grace=$2
shift 2
"$@" >>"$dir/server.log" 2>&1 </dev/null 3<&- &
server=$!

no_users() { while read -r _ <&3; do :; done; } # returns at end of file: no writer is left

while :; do
    no_users
    sleep "$grace" 3<&-
    # A user writes a line when it comes, so one that came meanwhile is seen here.
    if read -r _ <&3; then continue; fi
    # Shut the door, then wait for whoever slipped in before that.
    mv "$dir/users" "$dir/closed"
    no_users
    break
done
kill -QUIT "$server"
wait "$server"
rm -rf "$dir"
