import Glibc

/// The bytes of the arguments that are no text. The parser hands on text, in which U+FFFD stands for what cannot be
/// decoded, so that several arguments may look alike there.
struct CommandLineBytes {
    /// By what they look like: those that do, in their order; the next one first.
    private var lookalikes: [[UInt8]: ArraySlice<[UInt8]>] = [:]

    /// - Parameter arguments: as the system has them, without their NUL
    init(_ arguments: some Sequence<[UInt8]>) {
        for argument in arguments {
            let text = String(decoding: argument, as: UTF8.self)
            if Self.isDoubtful(text) { lookalikes[Array(text.utf8), default: []].append(argument) }
        }
    }

    static func ofProcess() -> CommandLineBytes {
        CommandLineBytes(
            (1..<max(Int(CommandLine.argc), 1)).lazy.compactMap { CommandLine.unsafeArgv[$0] }.map { argument in
                let start = UnsafeRawPointer(argument)
                return Array(UnsafeRawBufferPointer(start: start, count: strlen(argument)))
            })
    }

    /// What the user typed: to be called once for each, in their order.
    mutating func path(_ argument: String) -> Path {
        let text = Array(argument.utf8)
        guard Self.isDoubtful(argument), let original = lookalikes[text]?.popFirst() else { return Path(bytes: text) }
        return Path(bytes: original)
    }

    private static func isDoubtful(_ text: String) -> Bool { text.unicodeScalars.contains("\u{fffd}") }
}
