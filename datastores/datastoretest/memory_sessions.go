package datastoretest

import "context"

// Session is a [Harness]'s Session. It lasts for as long as its login is good.
func (m *Memory) Session(ctx context.Context, l Login) (Session, error) {
	return memorySession{m, l}, m.Connect(ctx, l.Address, l.User, l.Password, l.Database)
}

type memorySession struct {
	memory *Memory
	login  Login
}

func (s memorySession) Ask(context.Context) (err error) {
	s.memory.with(s.login.Address, func(server *memoryServer) {
		if !server.lingering {
			err = server.connect(s.login)
		}
	})
	return err
}

func (memorySession) Close() error { return nil }

// Linger lets the server's sessions outlive what let them in: a defect for tests of the suite.
func (m *memoryManager) Linger() {
	m.memory.with(m.env.Address, func(s *memoryServer) { s.lingering = true })
}
