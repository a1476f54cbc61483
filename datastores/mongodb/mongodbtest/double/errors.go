package double

import (
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// refusal is an error of a command, with the code that MongoDB's documents have for it.
type refusal struct {
	code    int32
	name    string
	message string
}

func (r refusal) Error() string { return r.message }

type kind struct {
	code int32
	name string
}

var (
	internalError        = kind{1, "InternalError"}
	badValue             = kind{2, "BadValue"}
	failedToParse        = kind{9, "FailedToParse"}
	userNotFound         = kind{11, "UserNotFound"}
	unauthorized         = kind{13, "Unauthorized"}
	authenticationFailed = kind{18, "AuthenticationFailed"}
	alreadyInitialized   = kind{23, "AlreadyInitialized"}
	exceededTimeLimit    = kind{262, "ExceededTimeLimit"}
	maxTimeExpired       = kind{50, "MaxTimeMSExpired"}
	writeConcernFailed   = kind{64, "WriteConcernFailed"}
	nodeNotFound         = kind{74, "NodeNotFound"}
	nodeNotElectable     = kind{122, "NodeNotElectable"}
	commandFailed        = kind{125, "CommandFailed"}
	unsatisfiable        = kind{100, "UnsatisfiableWriteConcern"}
	primarySteppedDown   = kind{189, "PrimarySteppedDown"}
	configNotCommitted   = kind{308, "CurrentConfigNotCommittedYet"}
	namespaceNotFound    = kind{26, "NamespaceNotFound"}
	roleNotFound         = kind{31, "RoleNotFound"}
	cursorNotFound       = kind{43, "CursorNotFound"}
	namespaceExists      = kind{48, "NamespaceExists"}
	commandNotFound      = kind{59, "CommandNotFound"}
	invalidNamespace     = kind{73, "InvalidNamespace"}
	noReplicationEnabled = kind{76, "NoReplicationEnabled"}
	newConfigMismatch    = kind{103, "NewReplicaSetConfigurationIncompatible"}
	notYetInitialized    = kind{94, "NotYetInitialized"}
	invalidConfig        = kind{93, "InvalidReplicaSetConfig"}
	userWritesBlocked    = kind{371, "UserWritesBlocked"}
	notWritablePrimary   = kind{10107, "NotWritablePrimary"}
	duplicateKey         = kind{11000, "DuplicateKey"}
	databaseDiffersCase  = kind{13297, "DatabaseDifferCase"}
	notPrimaryNoSecond   = kind{13435, "NotPrimaryNoSecondaryOk"}
	notPrimaryOrSecond   = kind{13436, "NotPrimaryOrSecondary"}
	userExists           = kind{51003, "Location51003"}
	roleExists           = kind{51002, "Location51002"}
)

func refuse(k kind, message string) error { return refusal{k.code, k.name, message} }

// reply is what a client gets for a command that was refused.
func failed(err error) bson.D {
	var r refusal
	if !errors.As(err, &r) {
		r = refusal{internalError.code, internalError.name, err.Error()}
	}
	return bson.D{{Key: "ok", Value: 0.0}, {Key: "errmsg", Value: r.message}, {Key: "code", Value: r.code}, {Key: "codeName", Value: r.name}}
}
