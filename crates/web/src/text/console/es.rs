//! The console's words in Spanish.

use super::{
    ConsoleWords, JobKind, JobState, Order, Outcome, PurgeStep, Refused, Section, TenantState, Trouble,
};

/// The table.
pub(in crate::text) static WORDS: ConsoleWords = ConsoleWords {
    console: "Consola",
    sections: "Consola",
    all_well: "Todo está en orden",
    all_well_text: "El registro responde, los servidores tienen lo que el registro dice y ningún trabajo espera a una persona.",
    one_trouble: "Una cosa te necesita",
    troubles: |count| format!("{count} cosas te necesitan"),
    trouble_text: "Lo peor va primero. Cada una dice qué hacer.",
    compared: "Servidores comparados con el registro",
    not_compared: "Los servidores aún no se han comparado con el registro.",
    look_now: "Comparar ahora",
    and_more: |count| format!("y {count} más"),
    tenants_lead: "Cada empresa con una base de datos aquí.",
    search: "Buscar",
    search_hint: "Parte del subdominio o del nombre, o un identificador entero",
    state: "Estado",
    all_states: "Todos los estados",
    server: "Servidor",
    all_servers: "Todos los servidores",
    order: "Orden",
    filter: "Mostrar",
    clear: "Mostrar todas",
    subdomain: "Subdominio",
    schema: "Esquema",
    size: "Tamaño",
    connections: "Conexiones",
    connections_hint: "En uso / en reposo / en espera",
    created: "Creada",
    no_tenants: "No hay ninguna empresa así.",
    next_page: "Página siguiente",
    first_page: "Desde el principio",
    address: "Dirección",
    database: "Base de datos y rol",
    id: "Identificador",
    reason: "Motivo",
    weight: "Peso",
    weight_hint: "De 1 a 100: su parte de un servidor escaso de conexiones, junto a otras que esperan.",
    set_weight: "Fijar el peso",
    what_it_is: "Qué es",
    what_to_do: "Qué se puede hacer",
    history: "Sus trabajos",
    no_history: "No hay trabajos para ella.",
    connections_now: "Conexiones ahora",
    in_use: "En uso",
    idle: "En reposo",
    waiting: "Solicitudes en espera",
    of_this_process: "De este proceso; otros routers tienen las suyas.",
    pause: "Pausar…",
    pause_title: |subdomain| format!("¿Pausar {subdomain}?"),
    pause_text: "Cada solicitud recibirá «en pausa», y el rol de la empresa queda fuera de su base de datos. Los datos se quedan como están, y al reanudar se abre otra vez la puerta.",
    resume: "Reanudar",
    resume_text: "Abre otra vez su puerta y deja su rol como debe estar.",
    nothing_to_do: "En este estado no hay nada que hacer.",
    drain: "Segundos para lo que está en curso",
    drain_hint: "De 0 a 60. Después se corta.",
    reason_hint: "Para quien lo mire más tarde. Puede quedar vacío.",
    type_it: |subdomain| format!("Escribe {subdomain} para seguir"),
    cancel: "Dejarla como está",
    jobs_lead: "Lo que se crea, cambia y elimina, paso a paso.",
    unfinished: "Sin terminar",
    all_jobs: "Todos",
    no_jobs: "No hay trabajos así.",
    job: "Trabajo",
    kind: "Para qué",
    company: "Empresa",
    steps: "Pasos",
    steps_of: |done, all| format!("{done} de {all}"),
    began: "Empezó",
    took: "Duró",
    worked_on: "Un proceso lo tiene ahora",
    not_worked_on: "Ningún proceso lo tiene ahora",
    attempts: |count| format!("{count} intentos"),
    stuck_text: "Lo hecho no se pudo deshacer. Quita lo que nombra el error; el nombre queda reservado mientras tanto.",
    servers_lead: "Los servidores PostgreSQL que guardan las bases de datos de las empresas.",
    no_servers: "No se conoce ningún servidor.",
    companies: "Empresas",
    capacity: "Conexiones para empresas",
    takes_new: "recibe empresas nuevas",
    draining: "vaciándose",
    routers: "Routers",
    router_ok: "conoce todas las rutas",
    router_behind: |behind| format!("{behind} cambios atrás"),
    jobs_open: "Trabajos en curso",
    jobs_stuck: "Trabajos atascados",
    more: "Más",
    unknown: "no se sabe",
    rename: "Cambiar nombre…",
    rename_title: |subdomain| format!("¿Cambiar el nombre de {subdomain}?"),
    rename_text: "Su dirección pasa a ser otra en el acto. La antigua lleva allí durante 30 días, y 90 más no es de nadie.",
    new_name: "Subdominio nuevo",
    delete: "Borrar…",
    delete_title: |subdomain| format!("¿Borrar {subdomain}?"),
    delete_text: "Cada solicitud recibirá «borrada», y el rol queda fuera. Los datos se conservan 30 días, en los que se puede recuperar.",
    undelete: "Recuperar",
    undelete_text: "La recupera con todo lo que tenía, en el estado en que estaba.",
    purge: "Eliminar…",
    purge_title: |subdomain| format!("¿Eliminar {subdomain} para siempre?"),
    purge_text: "Se eliminan la base de datos, el rol y cada secreto, y se prueba que no están. No hay vuelta atrás.",
    waive: "Hacerlo aunque no hayan pasado sus 30 días",
    look_alike: "Tomar el nombre aunque se lea como otro",
    kept_until: "Datos conservados hasta",
    deleted_at: "Borrada",
    former: "Subdominios anteriores",
    retry: "Que siga",
    retry_text: "Sigue en la dirección en que iba.",
    abandon: "Abandonar…",
    abandon_title: |subdomain| format!("¿Abandonar el trabajo para {subdomain}?"),
    abandon_text: "Nadie trabaja más en él. Lo que deja atrás se queda, y un nombre que se estaba creando queda reservado hasta que no quede nada.",
    deeds: "Lo que se le hizo",
    deed: "Qué",
    actor: "Quién",
    outcome: "Cómo fue",
    from: "Desde dónde",
    done: "hecho",
    was_refused: "rechazado",
    failed: "falló",
    section: |section| match section {
        Section::Overview => "Resumen",
        Section::Tenants => "Empresas",
        Section::Jobs => "Trabajos",
        Section::Servers => "Servidores",
        Section::Connections => "Conexiones",
    },
    tenant_state: |state| match state {
        TenantState::Provisioning => "en creación",
        TenantState::Active => "activa",
        TenantState::Paused => "en pausa",
        TenantState::Deleting => "borrándose",
        TenantState::Deleted => "borrada",
        TenantState::Purging => "eliminándose",
    },
    job_state: |state| match state {
        JobState::Running => "en curso",
        JobState::Undoing => "deshaciéndose",
        JobState::Done => "hecho",
        JobState::Undone => "deshecho",
        JobState::Abandoned => "abandonado",
        JobState::Stuck => "atascado",
    },
    job_kind: |kind| match kind {
        JobKind::CreateTenant => "Crear empresa",
        JobKind::PurgeTenant => "Eliminar empresa",
    },
    trouble: |trouble| match trouble {
        Trouble::RegistryAway => (
            "El registro no responde",
            "Arranca su PostgreSQL. Las empresas se siguen atendiendo; los registros nuevos y los cambios esperan.",
        ),
        Trouble::StuckJobs => (
            "Hay trabajos atascados",
            "Mira cada uno y quita lo que lo impide; los nombres quedan reservados mientras tanto.",
        ),
        Trouble::NoServer => (
            "Ningún servidor recibe empresas nuevas",
            "portero server add, o portero server drain NOMBRE --undo",
        ),
        Trouble::ServerAway => ("Un servidor no responde", "Arráncalo o corrige su dirección."),
        Trouble::NoRouter => ("El registro no conoce ningún router", "Arranca portero serve."),
        Trouble::RouterBehind => (
            "Un router no se ha enterado de los últimos cambios",
            "Mira si alcanza el registro; si no, reinícialo.",
        ),
        Trouble::MissingDatabase => {
            ("Faltan bases de datos de empresas", "Recupéralas de una copia de seguridad.")
        }
        Trouble::MissingRole => (
            "Faltan roles de empresas",
            "Recupéralos de una copia de los roles del servidor; al reanudar, cada uno recibe otra vez su contraseña.",
        ),
        Trouble::WrongMark => {
            ("Hay bases de datos sin la marca de su empresa", "Nadie entra en ellas. Averigua de quién son.")
        }
        Trouble::ClosedDatabase => (
            "Hay bases de empresas activas que no aceptan conexiones",
            "ALTER DATABASE … ALLOW_CONNECTIONS true; si su DROP quedó a medias, hay que recuperarla.",
        ),
        Trouble::OpenFence => {
            ("Hay roles que pueden entrar aunque su puerta está cerrada", "portero doctor --mend")
        }
        Trouble::ShutFence => {
            ("Hay roles que no pueden entrar aunque su empresa está activa", "portero doctor --mend")
        }
        Trouble::RoleRights => {
            ("Hay roles con derechos que ningún rol de empresa tiene", "Averigua quién los dio, y quítalos.")
        }
        Trouble::RoleSettings => (
            "Hay roles con otros ajustes que los recibidos",
            "Reanuda la empresa: deja su rol como debe estar y no corta a nadie.",
        ),
        Trouble::OpenCompany => (
            "Hay bases de datos como de empresa abiertas a todos: allí no se ponen empresas nuevas",
            "REVOKE CONNECT, TEMPORARY ON DATABASE … FROM PUBLIC",
        ),
        Trouble::OrphanDatabase => (
            "Hay bases de datos con nuestra marca que no son de ninguna empresa",
            "Si ningún otro registro usa el servidor: portero doctor --mend",
        ),
        Trouble::OrphanRole => (
            "Hay roles con nuestra marca que no son de ninguna empresa",
            "Si ningún otro registro usa el servidor: portero doctor --mend",
        ),
        Trouble::Unmarked => ("Hay bases o roles con nombre de empresa y sin marca", "Averigua qué son."),
        Trouble::OpenDatabase => {
            ("Hay bases de datos abiertas a todos", "REVOKE CONNECT, TEMPORARY ON DATABASE … FROM PUBLIC")
        }
        Trouble::NoJob => (
            "Hay empresas en creación en las que nadie trabaja",
            "Si se abandonó un trabajo, portero jobs abandon ID libera el nombre cuando ya no queda nada.",
        ),
    },
    outcome_word: |outcome| match outcome {
        Outcome::Paused => "Está en pausa. Sus datos se conservan.",
        Outcome::Resumed => "Está activa otra vez.",
        Outcome::Weighed => "Su peso quedó fijado.",
        Outcome::Renamed => "Tiene otro subdominio.",
        Outcome::Deleted => "Está borrada. Sus datos se conservan 30 días.",
        Outcome::Undeleted => "Ha vuelto, como estaba.",
        Outcome::Retried => "El trabajo sigue.",
        Outcome::Abandoned => "El trabajo quedó abandonado.",
        Outcome::Looked => "Los servidores se acaban de comparar con el registro.",
    },
    purge_step: |step| match step {
        PurgeStep::Fence => "Cerrar la puerta en la base de datos",
        PurgeStep::DropDatabase => "Eliminar la base de datos",
        PurgeStep::DropRole => "Eliminar su rol",
        PurgeStep::Bury => "Poner una lápida en su lugar",
        PurgeStep::Prove => "Probar que no queda nada",
    },
    refused: |refused| match refused {
        Refused::NotTyped => "Lo que escribiste no es su subdominio. No se hizo nada.",
        Refused::NoSeconds => "Eso no es un número de 0 a 60. No se hizo nada.",
        Refused::Changed => "Cambió mientras tanto, o está en un estado que no lo permite. No se hizo nada.",
        Refused::Name => {
            "Ese subdominio no se puede tener: está ocupado, reservado, en cuarentena o no lo es. No se hizo nada."
        }
        Refused::LookAlike => {
            "El nombre se lee como el de otra empresa, o como uno reservado para alguien. No se hizo nada."
        }
        Refused::TooMany => "Se borraron demasiadas empresas en las últimas 24 horas. No se hizo nada.",
        Refused::InGrace => "Sus datos se conservan 30 días, y no han pasado. No se hizo nada.",
        Refused::Server => {
            "Su servidor de bases de datos no lo hace. La puerta está cerrada para las solicitudes; inténtalo otra vez, para que el rol quede también fuera."
        }
    },
    order_word: |order| match order {
        Order::Subdomain => "por subdominio",
        Order::Name => "por nombre",
        Order::Newest => "las más nuevas primero",
    },
};
