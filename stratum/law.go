package stratum

import (
	"strings"

	"cordee/pool"
)

// state is how far a connection came. Work is pushed in working only.
type state uint8

const (
	fresh      state = iota // nothing yet
	subscribed              // knows its extranonce1
	named                   // authorized, but did not subscribe yet
	working                 // both
	stateCount
)

var stateNames = [stateCount]string{"fresh", "subscribed", "authorized", "working"}

// method is one of the closed set of requests.
type method uint8

const (
	mSubmit method = iota
	mSubscribe
	mAuthorize
	mConfigure
	mSuggestDifficulty
	mSuggestTarget
	mExtranonceSubscribe
	mPing
	mPong
	mGetTransactions
	mMultiVersion
	mCapabilities
	mResponse // an answer to one of our lines
	mOther
	methodCount
)

var methodNames = [methodCount]string{
	"submit", "subscribe", "authorize", "configure", "suggest_difficulty", "suggest_target",
	"extranonce_subscribe", "ping", "pong", "get_transactions", "multi_version", "capabilities",
	"response", "other",
}

// law is the session's law: what handles a method, and in which states it is
// refused. If you add a method, give it a row here.
var law = [methodCount]struct {
	handle func(*session, *desk, *message)
	refuse [stateCount]pool.Reject
}{
	mSubmit: {(*session).onSubmit, [stateCount]pool.Reject{
		fresh: pool.NotSubscribed, named: pool.NotSubscribed, subscribed: pool.Unauthorized,
	}},
	mSubscribe:           {handle: (*session).onSubscribe},
	mAuthorize:           {handle: (*session).onAuthorize},
	mConfigure:           {handle: (*session).onConfigure},
	mSuggestDifficulty:   {handle: (*session).onSuggestDifficulty},
	mSuggestTarget:       {handle: (*session).onSuggestTarget},
	mExtranonceSubscribe: {handle: (*session).onTrue}, // it never changes here: nothing to do
	mPing:                {handle: (*session).onPing},
	mPong:                {handle: (*session).onNothing}, // ESP-Miner answers a ping with a request
	mGetTransactions:     {handle: (*session).onGetTransactions},
	mMultiVersion:        {handle: (*session).onTrue},
	mCapabilities:        {handle: (*session).onTrue},
	mResponse:            {handle: (*session).onNothing},
	mOther:               {handle: (*session).onOther},
}

// methodOf names a message. The old form of suggest_difficulty has its value
// in the name.
func methodOf(m *message) method {
	if m.method == nil {
		if m.response {
			return mResponse
		}
		return mOther
	}
	switch name := plain(m.method); string(name) {
	case "mining.submit":
		return mSubmit
	case "mining.subscribe":
		return mSubscribe
	case "mining.authorize":
		return mAuthorize
	case "mining.configure":
		return mConfigure
	case "mining.suggest_difficulty":
		return mSuggestDifficulty
	case "mining.suggest_target":
		return mSuggestTarget
	case "mining.extranonce.subscribe":
		return mExtranonceSubscribe
	case "mining.ping":
		return mPing
	case "pong", "mining.pong":
		return mPong
	case "mining.get_transactions":
		return mGetTransactions
	case "mining.multi_version":
		return mMultiVersion
	case "mining.capabilities":
		return mCapabilities
	default:
		if strings.HasPrefix(string(name), suggestPrefix) {
			return mSuggestDifficulty
		}
		return mOther
	}
}
