#!/bin/sh
# An MLflow server that a cluster shares: runs in PostgreSQL, files in a bucket, a name and a password at the door.
#     pip install 'stepward[server,s3]'
#     createuser -P mlflow && createdb -O mlflow mlflow                   # as the user postgres
#     export MLFLOW_DB=postgresql+psycopg2://mlflow:SECRET@127.0.0.1:5432/mlflow
#     export MLFLOW_AUTH_ADMIN_PASSWORD=SECRET   # of the first user, `admin`, at the first start
#     sh cluster/mlflow_server.sh s3://BUCKET/mlflow                      # or a folder
# Jobs and people then set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD. Users and their rights stand in the
# same database, in tables of their own. It listens on loopback: come through ssh, or through a proxy that speaks TLS,
# because a password in plain HTTP can be read on its way.
set -eu
: "${MLFLOW_DB:?expected the URL of a PostgreSQL database in MLFLOW_DB}"
: "${MLFLOW_AUTH_ADMIN_PASSWORD:?expected the password of the first user in MLFLOW_AUTH_ADMIN_PASSWORD}"
export MLFLOW_AUTH_ADMIN_PASSWORD
files=${1:?expected where files go, for example s3://BUCKET/mlflow}
port=${MLFLOW_PORT:-5000}

umask 077                                   # what follows holds passwords: for this user alone
settings=$(mktemp)
trap 'rm -f "$settings"' EXIT
cat > "$settings" << INI
[mlflow]
default_permission = READ
database_uri = $MLFLOW_DB
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
INI
export MLFLOW_AUTH_CONFIG_PATH="$settings" MLFLOW_BACKEND_STORE_URI="$MLFLOW_DB"
: "${MLFLOW_FLASK_SERVER_SECRET_KEY:=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')}"
export MLFLOW_FLASK_SERVER_SECRET_KEY
mlflow server --app-name basic-auth --host 127.0.0.1 --port "$port" --workers 1 --artifacts-destination "$files"
