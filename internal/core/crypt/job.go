package crypt

import "slices"

// Job is a slow computation that leaves the engine as a value. Run may be called
// in another goroutine, once: a job has its own copy of the private key and
// wipes it when done, so the engine may wipe its own at any time.
type Job interface{ Run() Result }

// Result is what a Job found. Private is the key the job was made with.
type Result struct {
	Private Private
	Public  []byte // of KeyPairJob
	Shared  Secret // of SharedJob
	// Signature is what a SignJob made.
	Signature []byte
	// Value is what a Job of another package found.
	Value any
	Err   error
}

// KeyPairJob computes the public value of p.
func KeyPairJob(p Private) Job { return keyPairJob{p, p.clone()} }

// SharedJob computes the shared secret of p and the peer's public value, which
// is copied.
func SharedJob(p Private, peer []byte) Job {
	return sharedJob{p, p.clone(), slices.Clone(peer)}
}

type keyPairJob struct{ owner, own Private }

func (j keyPairJob) Run() Result {
	defer j.own.Wipe()
	public, err := j.own.Public()
	return Result{Private: j.owner, Public: public, Err: err}
}

type sharedJob struct {
	owner, own Private
	peer       []byte
}

func (j sharedJob) Run() Result {
	defer j.own.Wipe()
	shared, err := j.own.Shared(j.peer)
	return Result{Private: j.owner, Shared: shared, Err: err}
}
