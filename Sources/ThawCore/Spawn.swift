internal import Glibc

/// Runs a program found on `PATH` and waits for it. Answers its exit status, or nil when it could not be started or
/// was killed. Its standard streams are ours.
package func spawnAndWait(_ words: [String]) -> Int32? {
    var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var pid = pid_t()
    guard let program = words.first, posix_spawnp(&pid, program, nil, nil, &arguments, environ) == 0 else { return nil }
    var status: Int32 = 0
    while waitpid(pid, &status, 0) == -1 {
        guard errno == EINTR else { return nil }
    }
    return status & 0x7F == 0 ? (status >> 8) & 0xFF : nil
}
