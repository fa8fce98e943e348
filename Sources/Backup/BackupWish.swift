/// What somebody wrote into `user.thaw.restore` of a directory to have a snapshot restored into it:
/// `from=hbr:VAULT/SNAPSHOT`, with any number of `include=PATH` and `exclude=PATH`, joined by commas. A comma in a path
/// is written `\,`, and a backslash `\\`.
package struct BackupWish: Sendable, Equatable {
    package var vault: String
    package var snapshot: String
    package var include: [String] = []
    package var exclude: [String] = []

    private static let scheme = "hbr:"

    /// Whether the text is about a backup, well written or not.
    package static func isMeant(by text: String) -> Bool { items(text).contains { $0.hasPrefix("from=") } }

    package init(parsing text: String) throws(BackupRefusal) {
        var source: String?
        for item in Self.items(text) {
            let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let value = parts.count == 2 ? String(parts[1]) : ""
            guard !value.isEmpty else { throw .invalid("“\(item)”: expected NAME=VALUE") }
            switch parts[0] {
            case "from":
                guard source == nil else { throw .invalid("from is given twice") }
                source = value
            case "include": include.append(value)
            case "exclude": exclude.append(value)
            default: throw .invalid("“\(item)”: expected from=hbr:VAULT/SNAPSHOT, include=PATH or exclude=PATH")
            }
        }
        let names = source.flatMap { $0.hasPrefix(Self.scheme) ? $0.dropFirst(Self.scheme.count) : nil }?
            .split(separator: "/", omittingEmptySubsequences: false)
        guard let names, names.count == 2, names.allSatisfy({ !$0.isEmpty }) else {
            throw .invalid("from=\(source ?? ""): expected hbr:VAULT/SNAPSHOT")
        }
        vault = String(names[0])
        snapshot = String(names[1])
    }

    private static func items(_ text: String) -> [String] {
        var items = [""]
        var isEscaped = false
        for character in text.unicodeScalars {
            if isEscaped || character != "\\" && character != "," {
                items[items.count - 1].unicodeScalars.append(character)
                isEscaped = false
            } else if character == "\\" {
                isEscaped = true
            } else {
                items.append("")
            }
        }
        return items
    }
}

/// Why a directory's wish for a backup was not taken.
package enum BackupRefusal: Error, Sendable, Equatable {
    /// The text does not parse, or asks for what the service cannot take; says what it takes.
    case invalid(String)
    /// Something else is being restored into the directory.
    case busy
    /// It cannot be remembered, so nothing was sent.
    case notRemembered(String)
}
