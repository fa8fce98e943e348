import Glibc
import ThawCore

/// A `credential_process`: a command that prints a JSON document of version 1.
enum ProcessCredentials {
    /// A command that has not ended by then is killed.
    private static let secondsMax = 60
    private static let bytesMax = 1 << 20

    static func run(_ command: String) async throws(CredentialsError) -> Lease {
        guard let words = words(command), let program = words.first else {
            throw CredentialsError("credential_process: a quote is not closed, or there is no command")
        }
        var thread: Thread?
        let result: Result<[UInt8], CredentialsError> = await withCheckedContinuation { continuation in
            // The command may take seconds: it is waited for on a thread of its own.
            do throws(Thread.Failure) {
                thread = try Thread(name: "credentials") {
                    continuation.resume(returning: printed(by: words))
                }
            } catch {
                continuation.resume(returning: .failure(failure(error.errno)))
            }
        }
        // It resumed us as the last thing it did.
        thread?.join()
        let place = "credential_process \(program)"
        let output = try result.mapError { CredentialsError("\(place): \($0)") }.get()
        guard let json = JSON(output), json["Version"] == 1 else {
            throw CredentialsError("\(place) printed no JSON document of version 1")
        }
        return try Lease(json, secret: "SecretAccessKey", token: "SessionToken", from: place)
    }

    /// Splits as a shell does, without a shell: blanks, both quotes, backslashes. Nil for a quote left open.
    static func words(_ command: String) -> [String]? {
        var words: [String] = []
        var word: String?
        var quote: Character?
        var rest = command[...]
        while let character = rest.popFirst() {
            if let open = quote {
                if character == open {
                    quote = nil
                } else if character == "\\", open == "\"", let next = rest.first, next == "\"" || next == "\\"
                {
                    word?.append(rest.removeFirst())
                } else {
                    word?.append(character)
                }
            } else if character == "\"" || character == "'" {
                quote = character
                word = word ?? ""
            } else if character == "\\", let next = rest.popFirst() {
                word = (word ?? "") + String(next)
            } else if character.isWhitespace {
                if let word { words.append(word) }
                word = nil
            } else {
                word = (word ?? "") + String(character)
            }
        }
        if let word { words.append(word) }
        return quote == nil ? words : nil
    }

    private static func printed(by words: [String]) -> Result<[UInt8], CredentialsError> {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { return .failure(failure(errno)) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        defer { posix_spawn_file_actions_destroy(&actions) }
        // Our threads block all signals; a command must not inherit that.
        var attributes = posix_spawnattr_t()
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_init(&attributes)
        posix_spawnattr_setsigmask(&attributes, &signals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        defer { posix_spawnattr_destroy(&attributes) }

        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
        defer { for argument in arguments { free(argument) } }
        arguments.append(nil)
        var process: pid_t = 0
        let problem = posix_spawnp(&process, words[0], &actions, &attributes, arguments, environ)
        close(ends[1])
        defer { close(ends[0]) }
        guard problem == 0 else { return .failure(failure(problem)) }

        let output = collect(ends[0])
        if case .failure = output { kill(process, SIGKILL) }
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 && errno == EINTR {}
        if case .success = output, status != 0 {
            return .failure(CredentialsError("it failed (wait status \(status))"))
        }
        return output
    }

    private static func collect(_ file: Int32) -> Result<[UInt8], CredentialsError> {
        let deadline = monotonicSeconds() + secondsMax
        var collected: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16384)
        while true {
            var wait = pollfd(fd: file, events: Int16(POLLIN), revents: 0)
            let left = deadline - monotonicSeconds()
            guard left > 0 else { return .failure(CredentialsError("it took longer than \(secondsMax) s")) }
            guard poll(&wait, 1, Int32(left * 1000)) > 0 else { continue }
            let count = buffer.withUnsafeMutableBytes { read(file, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            if count < 0 { return .failure(failure(errno)) }
            if count == 0 { return .success(collected) }
            collected += buffer[..<count]
            guard collected.count <= bytesMax else {
                return .failure(CredentialsError("it printed too much"))
            }
        }
    }

    private static func monotonicSeconds() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec
    }

    private static func failure(_ number: Int32) -> CredentialsError { CredentialsError(errorText(number)) }
}
