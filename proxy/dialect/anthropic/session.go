package anthropic

import (
	"strings"

	"manti/proxy/llm/scan"
)

// whoIs reads metadata.user_id: the caller's end user, and the session if the
// caller put one in. Claude Code has written both as
//
//	user_<device>_account_<uuid>_session_<uuid>
//
// and as a JSON object {"device_id", "account_uuid", "session_id"} in the
// string. The session isn't part of the user: else each session would count as
// a user of its own. Any other form is the user as it stands.
func whoIs(userID string) (user, session string) {
	if strings.HasPrefix(userID, "{") {
		raw := []byte(userID)
		member := func(key string) string {
			s, _ := scan.String(scan.Get(raw, key))
			return s
		}
		if session = member("session_id"); session != "" {
			for _, key := range []string{"account_uuid", "device_id"} {
				if user = member(key); user != "" {
					return user, session
				}
			}
			return "", session
		}
		return userID, ""
	}
	const mark = "_session_"
	if i := strings.LastIndex(userID, mark); i > 0 && strings.HasPrefix(userID, "user_") {
		return strings.TrimSuffix(userID[:i], "_account_"), userID[i+len(mark):]
	}
	return userID, ""
}
