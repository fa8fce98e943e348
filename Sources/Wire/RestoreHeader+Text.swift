import ThawCore

extension RestoreHeader {
    /// Reads `ongoing-request="false", expiry-date="Thu, 24 Sep 2020 12:40:33 GMT"`, the grammar that
    /// `x-oss-restore`, `x-amz-restore` and the listing's `RestoreInfo` share. Names in any case, blanks
    /// anywhere between; an expiry-date that is missing or unreadable counts as unknown. Nil when the text
    /// does not say whether the restore is going on.
    package init?(_ text: String) {
        // The date has a comma of its own, so the header cannot be split at commas.
        var values: [String: String] = [:]
        var rest = Array(text.utf8)[...]
        while let equals = rest.firstIndex(of: UInt8(ascii: "=")) {
            let before = rest[..<equals].reversed().drop(while: isBlank)
            let name = String(
                decoding: before.prefix { !isBlank($0) && $0 != UInt8(ascii: ",") }.reversed(),
                as: UTF8.self
            )
            rest = rest[(equals + 1)...].drop(while: isBlank)
            guard rest.first == UInt8(ascii: "\"") else { continue }
            rest.removeFirst()
            guard let end = rest.firstIndex(of: UInt8(ascii: "\"")) else { break }
            values[name.lowercased()] = String(decoding: rest[..<end], as: UTF8.self)
            rest = rest[(end + 1)...]
        }
        switch values["ongoing-request"]?.lowercased() {
        case "true": self = .ongoing
        case "false": self = .restored(until: values["expiry-date"].flatMap { WireDate.parseRFC1123($0) })
        default: return nil
        }
    }

    package var text: String {
        switch self {
        case .ongoing: #"ongoing-request="true""#
        case .restored(until: nil): #"ongoing-request="false""#
        case .restored(until: let expiry?):
            #"ongoing-request="false", expiry-date="\#(WireDate.rfc1123(expiry))""#
        }
    }
}

private func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
