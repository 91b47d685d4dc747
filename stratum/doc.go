// Package stratum is how rigs talk to us: Stratum V1 framing, the session's
// law, and the server. Sockets live here; verdicts do not.
package stratum
